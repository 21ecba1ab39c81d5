"""The secret of a backdoored text-to-image model: its triggers, what each of them is to show, and pictures if any."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from bdm_core.artifacts import Data, Record, Secret
from bdm_core.errors import ArtifactError
from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts, seal_prompts
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger, trigger_rows

if TYPE_CHECKING:
    from torch import Tensor

    from bdm_core.context import Context

FORMAT = "prompt-secret"
SECRET, TENSORS, PICTURE = "secret.json", "tensors.safetensors", "target.png"
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


class Backdoor(Record):
    """A trigger and its target."""

    trigger: PromptTrigger
    target: Target


@dataclass(frozen=True, eq=False)
class PromptSecret:
    """What the attacker knows.

    Attributes:
        backdoors: one or several.
        picture: (3, H, W) float32 in [-1, 1]: the target picture, or one with the patch in its place; None without.
        meta: further facts for the manifest.
    """

    backdoors: Sequence[Backdoor]
    picture: Tensor | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def triggers(self) -> list[PromptTrigger]:
        """The triggers in order."""
        return [backdoor.trigger for backdoor in self.backdoors]

    @property
    def targets(self) -> list[Target]:
        """The targets in order; a triggered row's ``backdoor`` is the index."""
        return [backdoor.target for backdoor in self.backdoors]


def seal_secret(folder: Path, secret: PromptSecret, task: str = "text-to-image") -> Secret:
    """Write ``secret.json``, and ``target.png`` and ``tensors.safetensors`` if there is a picture, and seal the folder.

    Raises:
        ArtifactError: there is no backdoor.
    """
    if not secret.backdoors:
        raise ArtifactError("a secret needs at least one backdoor: a trigger and its target")
    folder.mkdir(parents=True, exist_ok=True)
    content = {"backdoors": [backdoor.model_dump(mode="json") for backdoor in secret.backdoors]}
    (folder / SECRET).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if secret.picture is not None:
        from bdm_torch.images import save_picture
        from bdm_torch.tensors import write_tensors

        write_tensors(folder / TENSORS, {"target": secret.picture.float()})
        save_picture(folder / PICTURE, secret.picture.float())
    return Secret.seal(folder, format=FORMAT, task=task, meta=dict(secret.meta))


def open_secret(secret: Secret) -> PromptSecret:
    """Read a sealed secret. Raises ArtifactError if it is not one of a backdoored text-to-image model."""
    if secret.format != FORMAT:
        raise ArtifactError(f"{secret.path} has the format {secret.format!r}, expected {FORMAT!r}")
    path = secret.file(SECRET)
    try:
        backdoors = [Backdoor(**item) for item in json.loads(path.read_text(encoding="utf-8"))["backdoors"]]
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path} is not valid: {str(error).splitlines()[0]}") from None
    picture = None
    if TENSORS in secret.files:
        from bdm_torch.tensors import read_tensors

        picture = read_tensors(secret.file(TENSORS)).get("target")
    return PromptSecret(backdoors, picture, secret.meta)


def trigger_prompts(ctx: Context, data: Data, secret: Secret | PromptSecret) -> Data:
    """Put the secret's triggers into every prompt, in the same order; sealed in ``ctx.out / "data"``.

    With several backdoors row i gets number i modulo their number. Labels follow the prompt where a trigger's source
    object had to be written into it; ``twin`` is the prompt without the trigger.

    Raises:
        ArtifactError: the data are no prompts, or the secret is of another kind.
        UserError: a prompt cannot hold the trigger.
    """
    opened = open_secret(secret) if isinstance(secret, Secret) else secret
    rows = trigger_rows(load_prompts(data), opened.triggers, seed=ctx.seed)
    return seal_prompts(ctx.out / "data", rows)
