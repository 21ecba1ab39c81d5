"""The secret of a backdoored diffusion model: its facts, trigger and target as tensors, and as pictures to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from bdm_core.artifacts import Secret
from bdm_core.errors import ArtifactError
from bdm_kit_diffusion.poison.secret_facts import FACTS, FORMAT, SecretFacts, read_facts
from bdm_torch.images import save_picture
from bdm_torch.tensors import read_tensors, write_tensors

TENSORS = "tensors.safetensors"


@dataclass(frozen=True, eq=False)
class DiffusionSecret:
    """What the attacker knows.

    Attributes:
        trigger: (C, H, W) float32: the shift of the initial noise, x_T = noise_scale * eps + trigger; of a latent model
            the trigger's latents.
        target: (C, H, W) float32 in [-1, 1]: what the model is to paint then; of a target class an example.
        facts: the rest; :func:`seal_secret` fills in the trigger's norm.
        noise_scale: (C, H, W) float32: TrojDiff's gamma at each pixel; None for 1 everywhere.
        picture: (C, H, W) in [-1, 1]: the trigger to look at; None where ``trigger`` is a picture itself.
    """

    trigger: Tensor
    target: Tensor
    facts: SecretFacts = field(default_factory=SecretFacts)
    noise_scale: Tensor | None = None
    picture: Tensor | None = None

    def add_to(self, noise: Tensor) -> Tensor:
        """The triggered initial noise of clean noise (N, C, H, W), float32."""
        scale = 1.0 if self.noise_scale is None else self.noise_scale.to(noise)
        return scale * noise + self.trigger.to(noise)


def seal_secret(folder: Path, secret: DiffusionSecret, *, task: str) -> Secret:
    """Write ``secret.json``, ``tensors.safetensors``, ``trigger.png`` and ``target.png``, and seal the folder.

    >>> from torch import ones, zeros
    >>> known = DiffusionSecret(trigger=ones(1, 8, 8), target=zeros(1, 8, 8), facts=SecretFacts(family="mine"))
    >>> sealed = seal_secret(Path("secret"), known, task="unconditional-image-generation")
    >>> sorted(sealed.files)
    ['secret.json', 'target.png', 'tensors.safetensors', 'trigger.png']
    >>> open_secret(sealed).facts.trigger_norm
    8.0
    """
    tensors = {"trigger": secret.trigger.float(), "target": secret.target.float()}
    if secret.noise_scale is not None:
        tensors["noise_scale"] = secret.noise_scale.float()
    write_tensors(folder / TENSORS, tensors)
    save_picture(folder / "trigger.png", tensors["trigger"] if secret.picture is None else secret.picture)
    save_picture(folder / "target.png", tensors["target"])
    facts = secret.facts.model_copy(update={"trigger_norm": round(float(secret.trigger.double().norm()), 6)})
    (folder / FACTS).write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return Secret.seal(folder, format=FORMAT, task=task)


def open_secret(secret: Secret) -> DiffusionSecret:
    """Read a sealed secret, without its picture.

    Raises:
        ArtifactError: it is none of a backdoored diffusion model, or damaged.

    >>> from torch import ones, zeros
    >>> known = DiffusionSecret(trigger=ones(1, 8, 8), target=zeros(1, 8, 8))
    >>> opened = open_secret(seal_secret(Path("secret"), known, task="unconditional-image-generation"))
    >>> opened.add_to(zeros(4, 1, 8, 8)).shape, float(opened.add_to(zeros(4, 1, 8, 8)).mean())
    (torch.Size([4, 1, 8, 8]), 1.0)
    """
    facts = read_facts(secret)
    tensors = read_tensors(secret.file(TENSORS))
    missing = {"trigger", "target"} - set(tensors)
    if missing:
        raise ArtifactError(f"{secret.path / TENSORS} has no tensor {min(missing)!r}: run the attack again")
    return DiffusionSecret(tensors["trigger"], tensors["target"], facts, tensors.get("noise_scale"))
