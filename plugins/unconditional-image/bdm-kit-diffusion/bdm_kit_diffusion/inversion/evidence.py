"""Evidence of the format ``inverted-trigger``: what one plugin's detection hands to its own or another's removal.

``tensors.safetensors`` holds ``trigger`` (C, H, W), the shift of the initial noise, and, where it was estimated,
``deviation`` (C, H, W), the noise's standard deviation under the trigger. A plugin may add tensors of that shape under
names of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from bdm_core.artifacts import Evidence
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_torch.images import to_bytes
from bdm_torch.tensors import read_tensors, write_tensors

FORMAT = "inverted-trigger"
TENSORS = "tensors.safetensors"


def trigger_of(detection: Detection, shape: tuple[int, int, int], name: str) -> tuple[Tensor, Tensor | None]:
    """Trigger and deviation (None if there is none) of a detection.

    Args:
        detection: of any plugin.
        shape: (C, H, W) of the model.
        name: of the plugin that asks, for the message.

    Raises:
        UserError: the detection has no evidence of this format, or none of this shape.

    >>> tensors = {"trigger": torch.ones(1, 8, 8)}
    >>> found = seal_trigger(Path("evidence"), "unconditional-image-generation", tensors, torch.zeros(2, 1, 8, 8), {})
    >>> detection = Detection(level="model", scores=[2.0], threshold=1.0, evidence=found)
    >>> trigger, deviation = trigger_of(detection, (1, 8, 8), "mine")
    >>> trigger.shape, deviation is None
    (torch.Size([1, 8, 8]), True)
    >>> trigger_of(Detection(level="model", scores=[2.0], threshold=1.0), (1, 8, 8), "mine")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: mine's removal needs an inverted trigger; ...
    """
    evidence = detection.evidence
    if evidence is None or evidence.format != FORMAT:
        found = "no evidence" if evidence is None else f"evidence of the format {evidence.format!r}"
        raise UserError(f"{name}'s removal needs an inverted trigger; the detection has {found}: use --detect {name}")
    tensors = read_tensors(evidence.file(TENSORS))
    if any(tuple(value.shape) != shape for value in tensors.values()) or "trigger" not in tensors:
        raise UserError(f"{evidence.path} holds no trigger of the model's shape {shape}")
    return tensors["trigger"], tensors.get("deviation")


def seal_trigger(
    folder: Path, task: str, tensors: dict[str, Tensor], images: Tensor, record: dict[str, Any]
) -> Evidence:
    """Write and seal evidence of this format.

    Args:
        folder: to make; ``ctx.out / "evidence"``.
        task: of the model.
        tensors: ``trigger`` (C, H, W) and perhaps ``deviation``; of a latent model in latents.
        images: what the trigger brings about, (N, C, H, W) in [-1, 1]; of a latent model decoded.
        record: what led to the verdict, for ``features.json``.

    >>> tensors = {"trigger": torch.ones(1, 8, 8)}
    >>> found = seal_trigger(Path("evidence"), "unconditional-image-generation", tensors, torch.zeros(2, 1, 8, 8), {})
    >>> found.meta["norm"], "samples/01.png" in found.files
    (8.0, True)
    """
    folder.mkdir(parents=True)
    trigger = tensors["trigger"]
    write_tensors(folder / TENSORS, tensors)
    write_picture(folder / "trigger.png", trigger / max(1.0, float(trigger.abs().max())))
    (folder / "samples").mkdir()
    for index, image in enumerate(torch.nan_to_num(images)):
        write_picture(folder / "samples" / f"{index:02d}.png", image)
    (folder / "features.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    meta: dict[str, Any] = {
        "shape": list(trigger.shape),
        "norm": round(float(trigger.double().norm()), 6),
        "count": len(images),
    }
    return Evidence.seal(folder, format=FORMAT, task=task, meta=meta)


def write_picture(path: Path, image: Tensor) -> None:
    """An image (C, H, W) in [-1, 1] as PNG, C 1 or 3 (further channels are left out).

    >>> write_picture(Path("white.png"), torch.ones(1, 8, 8))
    >>> Image.open("white.png").size
    (8, 8)
    """
    pixels = to_bytes(image[: 3 if image.shape[0] >= 3 else 1]).permute(1, 2, 0).numpy()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path)
