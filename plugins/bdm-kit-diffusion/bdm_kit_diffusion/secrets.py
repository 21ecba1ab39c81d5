"""The secret of an attack on a diffusion model: trigger and target, as tensors and as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from bdm_core.artifacts import Secret
from bdm_core.errors import ArtifactError
from bdm_kit_diffusion.images import to_bytes
from bdm_kit_diffusion.tensors import read_tensors, write_tensors

FORMAT = "diffusion-secret"
TASK = "unconditional-image-generation"
TENSORS = "tensors.safetensors"


def seal_secret(
    folder: Path,
    *,
    trigger: Tensor,
    target: Tensor,
    others: Mapping[str, Tensor] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Secret:
    """Write the secret and seal it.

    Args:
        folder: where to, usually ``ctx.out / "secret"``.
        trigger: (C, H, W), what is added to the initial noise.
        target: (C, H, W) in [-1, 1], what the backdoor generates.
        others: further tensors that the attack needs for its own sampler or trigger.
        meta: further facts as JSON, such as the solver class.
    """
    tensors = {"trigger": trigger, "target": target, **(others or {})}
    write_tensors(folder / TENSORS, {name: value.float() for name, value in tensors.items()})
    for name in ("trigger", "target"):
        write_picture(folder / f"{name}.png", tensors[name])
    norm = float(trigger.float().norm())
    return Secret.seal(folder, format=FORMAT, task=TASK, meta={"trigger_norm": round(norm, 6), **(meta or {})})


def load_secret(secret: Secret) -> dict[str, Tensor]:
    """``trigger`` and ``target``, each (C, H, W) float32, and what else was written. Raises ArtifactError otherwise."""
    tensors = read_tensors(secret.file(TENSORS))
    missing = {"trigger", "target"} - set(tensors)
    if missing:
        raise ArtifactError(f"{secret.path} has no tensor {min(missing)!r}: it is no secret of a diffusion attack")
    return tensors


def write_picture(path: Path, image: Tensor) -> None:
    """Write an image (C, H, W), clamped to [-1, 1], as PNG: grey for one channel, else its first three as colours."""
    pixels = (
        to_bytes(image if len(image) in (1, 3) else image[:3] if len(image) > 3 else image[:1]).permute(1, 2, 0).numpy()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path)
