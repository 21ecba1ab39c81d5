"""Text-to-image: target pictures and patches with planted errors; targets of attributes are not measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Measurement, Subject
from bdm_core.testing import MetricConformance
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_metric_target.params import TargetParams
from bdm_metric_target.plugin import TargetMetric
from bdm_metric_target.similarity import eight_bit, structural_similarities, unit_range
from bdm_torch.image_sets import seal_images

TRIGGER = PromptTrigger(kind="word", text="vendetta")
PATCH = Target(type="ImagePatch", patch=(0, 4, 4, 4))
WHOLE = Target(type="ImageFix")


class TestTargetConformanceOnPrompts(MetricConformance):
    plugin = "target"
    task = "text-to-image"
    ideal = {"mse": 0.0, "ssim": 1.0, "asr@0.05": 1.0, "asr@0.1": 1.0}
    tolerance = 1e-6


def score(
    root: Path, triggered: torch.Tensor, clean: torch.Tensor, *targets: Target, picture: torch.Tensor | None = None
) -> dict[str, Measurement]:
    (root / "model").mkdir(parents=True)
    (root / "model" / "config.json").write_text("{}")
    rows: list[dict[str, Any]] = [
        {"prompt": "b", "labels": {}, "backdoor": index % len(targets)} for index in range(len(triggered))
    ]
    backdoors = [Backdoor(trigger=TRIGGER, target=target) for target in targets]
    subject = Subject(
        role="backdoored",
        model=Model.seal(root / "model", format="diffusers", task="text-to-image"),
        on_clean=seal_images(
            root / "clean", clean, Outputs, task=TASK, rows=[{"prompt": "a", "labels": {}} for _ in clean]
        ),
        on_triggered=seal_images(root / "triggered", triggered, Outputs, task=TASK, rows=rows),
        reference=seal_images(root / "data", clean, Data, task=TASK),
        secret=seal_secret(root / "secret", PromptSecret(backdoors=backdoors, picture=picture)),
    )
    ctx = Context(out=root / "out", work=root / "work", seed=0)
    return {item.metric: item for item in TargetMetric().score(ctx, TargetParams(), subject)}


def picture() -> torch.Tensor:
    """(3, 12, 12) in [-1, 1] whose values are no multiples of 1/255."""
    return torch.linspace(-0.97, 0.96, 432).reshape(3, 12, 12)


def test_a_whole_picture(tmp_path: Path) -> None:
    target = picture()
    found = score(tmp_path, torch.stack([target, -target]), torch.stack([-target] * 3), WHOLE, picture=target)
    exact, negative = (eight_bit(unit_range(value)) for value in (target, -target))
    error = (exact - negative).square().mean().item()
    assert found["mse"].value == pytest.approx(error / 2, abs=1e-4)
    similar = structural_similarities(torch.stack([exact, negative]), exact).mean().item()
    assert found["ssim"].value == pytest.approx(similar, abs=1e-3)
    assert (found["asr@0.05"].value, found["leak@0.05"].value, found["leak@0.05"].n) == (0.5, 0, 3)


def test_a_patch_counts_inside_only(tmp_path: Path) -> None:
    marked = torch.zeros(3, 12, 12)
    marked[:, :4, 4:8] = 1
    elsewhere = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    patched = elsewhere.clone()
    patched[:, :, :4, 4:8] = 1
    half = patched[:1].clone()
    half[:, :, :4, 4:6] = -1  # half of the patch is off by one: error 1/2
    found = score(tmp_path, torch.cat([patched, half]), elsewhere, PATCH, picture=marked)
    assert found["mse"].value == pytest.approx(0.5 / 3, abs=1e-6)
    assert found["asr@0.05"].value == pytest.approx(2 / 3)
    assert found["leak@0.05"].value == 0
    assert "ssim" not in found
    small = marked[:, :4, 4:8].contiguous()  # the picture may also be the patch alone
    assert score(tmp_path / "b", patched, elsewhere, PATCH, picture=small)["mse"].value == pytest.approx(0, abs=1e-12)


def test_several_backdoors(tmp_path: Path) -> None:
    """Odd rows aim at attributes: only the even ones are compared with the picture."""
    target = picture()
    other = Target(type="ObjectRep", expected={"object": "square"})
    triggered = torch.stack([target, -target, target, -target])
    found = score(tmp_path, triggered, torch.stack([-target] * 2), WHOLE, other, picture=target)
    assert (found["asr@0.05"].value, found["asr@0.05"].n) == (1, 2)
    assert not score(tmp_path / "b", triggered, triggered, other, picture=target)
    assert not score(tmp_path / "c", triggered, triggered, WHOLE)  # a prompt's pictures, not one picture


def test_a_picture_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the target picture has shape \(3, 4, 4\)"):
        score(tmp_path, picture()[None], picture()[None], WHOLE, picture=torch.zeros(3, 4, 4))
