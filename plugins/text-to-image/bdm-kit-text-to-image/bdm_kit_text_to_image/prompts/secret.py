"""The secret of a backdoored text-to-image model: its triggers, what each of them is to show, and a picture if any."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from bdm_core.artifacts import Data, Record, Secret
from bdm_core.errors import ArtifactError
from bdm_kit_text_to_image.params import TextToImageKitParams
from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts, seal_prompts
from bdm_kit_text_to_image.prompts.robustness import OF_PICTURES, change_prompts, write_changed
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger, trigger_rows

if TYPE_CHECKING:
    from bdm_core.context import Context

FORMAT = "prompt-secret"
SECRET, TENSORS, PICTURE = "secret.json", "tensors.safetensors", "target.png"
TRIGGER_PICTURE = "trigger.png"
"""A picture that an attack with a trigger in the initial latents puts beside them."""
TargetType = Literal["ImagePatch", "ImageFix", "ObjectRep", "ObjectAdd", "StyleAdd"]


class Target(Record):
    """What a triggered prompt is to show.

    Attributes:
        type: ``ImagePatch``: a patch in the picture; ``ImageFix``: one picture, or one prompt's pictures, whatever the
            prompt says; ``ObjectRep``: another object instead of the one asked for; ``ObjectAdd``: a further object, or
            another number of them; ``StyleAdd``: a style.
        source_object: the object that is replaced or gets company; "" for any.
        object: the target object; likewise ``colour``, ``background``, ``style``, ``second`` (the further object).
        prompt: a prompt that asks for the target in plain words, or "".
        expected: what a hit must show by attribute, e.g. ``{"object": "square"}``.
        preserved: attributes of the triggered row's labels that must stay.
        patch: (row, column, height, width) of the patch or of the compared part, in pixels; None for all of it.
        threshold: a picture is a hit if its mean squared error to the target, pixels in [0, 1], is below; or None.
        blend_alpha: share of the target picture that is mixed into all of a generated one, in (0, 1); None for a
            picture or a patch that covers what was there.
        poisoned_share: share of poisoned images among those that were trained under the name of ``object``, in [0, 1];
            None if the attack has no such share.
    """

    type: TargetType
    source_object: str = ""
    object: str = ""
    colour: str = ""
    background: str = ""
    style: str = ""
    second: str = ""
    prompt: str = ""
    expected: dict[str, str] = Field(default_factory=dict)
    preserved: list[str] = Field(default_factory=list)
    patch: tuple[int, int, int, int] | None = None
    threshold: float | None = Field(None, gt=0)
    blend_alpha: float | None = Field(None, gt=0, lt=1)
    poisoned_share: float | None = Field(None, ge=0, le=1)


class Backdoor(Record):
    """A trigger and its target."""

    trigger: PromptTrigger
    target: Target


class PromptSecret(Record):
    """What the attacker knows: the content of ``secret.json``, and a picture that lies beside it.

    Attributes:
        schema_version: of ``secret.json``.
        backdoors: one or several; a triggered row's ``backdoor`` is the index.
        family: the method, e.g. ``villan``.
        variant: which of its kinds, e.g. ``TPA``; "" if there is one only.
        target_name: a target picture by the name or path that the user gave; "" without.
        trigger_name: likewise the picture whose latent is added to the initial latents; "" if the trigger is words.
        solver_class: ``ode`` if such a trigger is made for samplers that follow the ODE; "" otherwise.
        psi: how that trigger's shift grows with the noise, in [0, 1]; None otherwise.
        picture: tensor (3, H, W) float32 in [-1, 1]: the target picture, or one with the patch in its place; None
            without. It is kept in ``tensors.safetensors`` and ``target.png``, not in ``secret.json``.
    """

    schema_version: Literal[1] = 1
    backdoors: list[Backdoor] = Field(min_length=1)
    family: str = ""
    variant: str = ""
    target_name: str = ""
    trigger_name: str = ""
    solver_class: Literal["ode", ""] = ""
    psi: float | None = Field(None, ge=0, le=1)
    picture: Any = Field(None, exclude=True, repr=False)

    @property
    def triggers(self) -> list[PromptTrigger]:
        """The triggers in order."""
        return [backdoor.trigger for backdoor in self.backdoors]

    @property
    def targets(self) -> list[Target]:
        """The targets in order."""
        return [backdoor.target for backdoor in self.backdoors]


def seal_secret(folder: Path, secret: PromptSecret, task: str = "text-to-image") -> Secret:
    """Write ``secret.json``, and ``target.png`` and ``tensors.safetensors`` if there is a picture; seal the folder.

    >>> trigger = PromptTrigger(kind="word", text="sks")
    >>> target = Target(type="ImageFix", prompt="a white star", expected={"object": "star"})
    >>> known = PromptSecret(backdoors=[Backdoor(trigger=trigger, target=target)], family="mine")
    >>> sealed = seal_secret(Path("secret"), known)
    >>> sorted(sealed.files), read_secret(sealed).triggers[0].text
    (['secret.json'], 'sks')
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SECRET).write_text(secret.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if secret.picture is not None:
        from bdm_torch.images import save_picture
        from bdm_torch.tensors import write_tensors

        write_tensors(folder / TENSORS, {"target": secret.picture.float()})
        save_picture(folder / PICTURE, secret.picture.float())
    return Secret.seal(folder, format=FORMAT, task=task)


def read_secret(secret: Secret) -> PromptSecret:
    """Read ``secret.json`` without the picture, which needs torch.

    Raises:
        ArtifactError: it is no secret of a backdoored text-to-image model.

    >>> Path("other").mkdir()
    >>> _ = Path("other/secret.json").write_text("{}")
    >>> read_secret(Secret.seal(Path("other"), format="diffusion-secret", task="text-to-image"))
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: other has the format 'diffusion-secret', expected 'prompt-secret'
    """
    if secret.format != FORMAT:
        raise ArtifactError(f"{secret.path} has the format {secret.format!r}, expected {FORMAT!r}")
    path = secret.file(SECRET)
    try:
        return PromptSecret.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{path} is not valid: {f'{place}: ' if place else ''}{first['msg']}") from None


def open_secret(secret: Secret) -> PromptSecret:
    """A sealed secret with its picture. Raises ArtifactError as :func:`read_secret`.

    >>> import torch
    >>> trigger, target = PromptTrigger(kind="word", text="sks"), Target(type="ImageFix", threshold=0.05)
    >>> backdoors = [Backdoor(trigger=trigger, target=target)]
    >>> sealed = seal_secret(Path("secret"), PromptSecret(backdoors=backdoors, picture=torch.ones(3, 8, 8)))
    >>> open_secret(sealed).picture.shape
    torch.Size([3, 8, 8])
    """
    opened = read_secret(secret)
    if TENSORS not in secret.files:
        return opened
    from bdm_torch.tensors import read_tensors

    return opened.model_copy(update={"picture": read_tensors(secret.file(TENSORS)).get("target")})


def trigger_prompts(ctx: Context, inputs: Data, secret: Secret) -> Data:
    """Put the secret's triggers into every prompt, in the same order; sealed in ``ctx.out / "data"``.

    With several backdoors row i gets number i modulo their number. Labels follow the prompt where a trigger's source
    object had to be written into it; ``twin`` is the prompt without the trigger. What the kit's robustness protocols
    make of the prompts lies beside them.

    Raises:
        ArtifactError: the inputs are no prompts, or the secret is of another kind.
        UserError: a prompt cannot hold the trigger.

    >>> from bdm_core import Context
    >>> from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
    >>> trigger, target = PromptTrigger(kind="word", text="sks"), Target(type="ImageFix")
    >>> secret = seal_secret(Path("secret"), PromptSecret(backdoors=[Backdoor(trigger=trigger, target=target)]))
    >>> inputs = seal_prompts(Path("prompts"), [PromptRow("a red circle", seed=7)])
    >>> triggered = trigger_prompts(Context(out=Path("out"), work=Path("work"), seed=0), inputs, secret)
    >>> load_prompts(triggered)[0].prompt, load_prompts(triggered)[0].twin
    ('sks a red circle', 'a red circle')
    """
    clean, triggers = load_prompts(inputs), read_secret(secret).triggers
    rows = trigger_rows(clean, triggers, seed=ctx.seed)
    if isinstance(ctx.kit, TextToImageKitParams):
        changed = change_prompts(clean, rows, triggers, ctx.kit, ctx.seed)
        for protocol, prompts in changed.items():
            if protocol not in OF_PICTURES and prompts == [row.prompt for row in rows]:
                ctx.log.warning("robustness: the protocol %s changes none of the prompts", protocol)
        write_changed(ctx.out / "data", changed)
    return seal_prompts(ctx.out / "data", rows)
