"""Evidence of an inverted trigger: what is sealed, and what is read from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_kit_diffusion.inversion.evidence import FORMAT, seal_trigger, trigger_of

SHAPE = (4, 6, 6)


def test_what_is_sealed_is_what_is_read(tmp_path: Path) -> None:
    trigger, images = 3 * torch.ones(SHAPE), torch.zeros(5, 3, 12, 12)
    images[1, 0, 0, 0] = float("nan")
    deviation = torch.full(SHAPE, 0.5)
    tensors = {"trigger": trigger, "deviation": deviation}
    evidence = seal_trigger(tmp_path / "evidence", "a-task", tensors, images, {"why": [1, 2]})
    assert evidence.format == FORMAT and evidence.meta == {"shape": [4, 6, 6], "norm": 36.0, "count": 5}
    detection = Detection(level="model", scores=[1.0], threshold=0.5, evidence=evidence)
    found, spread = trigger_of(detection, SHAPE, "a-defense")
    assert torch.equal(found, trigger) and spread is not None and torch.equal(spread, deviation)
    assert json.loads(evidence.file("features.json").read_text(encoding="utf-8")) == {"why": [1, 2]}
    pictures = sorted(name for name in evidence.files if name.startswith("samples/"))
    assert pictures == [f"samples/{index:02d}.png" for index in range(5)]
    with Image.open(evidence.file("samples/01.png")) as picture:
        assert picture.size == (12, 12) and picture.mode == "RGB"
    with Image.open(evidence.file("trigger.png")) as picture:  # of a trigger in latents the first three channels
        assert picture.size == (6, 6) and picture.getpixel((0, 0)) == (255, 255, 255)


def test_a_trigger_of_another_shape_or_none_is_refused(tmp_path: Path) -> None:
    tensors = {"trigger": torch.ones(SHAPE)}
    evidence = seal_trigger(tmp_path / "evidence", "a-task", tensors, torch.zeros(1, 3, 6, 6), {})
    detection = Detection(level="model", scores=[1.0], threshold=0.5, evidence=evidence)
    with pytest.raises(UserError, match="no trigger of the model's shape"):
        trigger_of(detection, (1, 8, 8), "a-defense")
    with pytest.raises(UserError, match="needs an inverted trigger"):
        trigger_of(Detection(level="model", scores=[1.0], threshold=0.5), SHAPE, "a-defense")
