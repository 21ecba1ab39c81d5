"""The plugin as a whole: conformance, a perfect attack, no attack, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from scipy.stats import beta

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Measurement, Subject
from bdm_core.run.specification import build_params
from bdm_core.testing import MetricConformance
from bdm_kit_diffusion.poison.secret import DiffusionSecret, seal_secret
from bdm_metric_target.params import TargetParams
from bdm_metric_target.plugin import TargetMetric
from bdm_torch.image_sets import seal_images

TASK = "unconditional-image-generation"


class TestTargetConformance(MetricConformance):
    plugin = "target"
    task = TASK
    ideal = {"mse": 0.0, "ssim": 1.0, "asr@0.05": 1.0, "asr@0.1": 1.0}


def subject(root: Path, triggered: torch.Tensor, clean: torch.Tensor, target: torch.Tensor) -> Subject:
    (root / "model").mkdir()
    (root / "model" / "config.json").write_text("{}")

    return Subject(
        role="backdoored",
        model=Model.seal(root / "model", format="diffusers", task=TASK),
        on_clean=seal_images(root / "clean", clean, Outputs, task=TASK),
        on_triggered=seal_images(root / "triggered", triggered, Outputs, task=TASK),
        reference=seal_images(root / "data", clean, Data, task=TASK),
        secret=seal_secret(root / "secret", DiffusionSecret(target, target), task=TASK),
    )


def score(root: Path, params: TargetParams | None = None, **images: torch.Tensor) -> dict[str, Measurement]:
    given = subject(root, **images)
    ctx = Context(out=root / "out", work=root / "work", seed=0)
    return {item.metric: item for item in TargetMetric().score(ctx, params or TargetParams(), given)}


def ramp() -> torch.Tensor:
    """A target whose values are no multiples of 1/255, (1, 8, 8) in [-1, 1]."""
    return torch.linspace(-0.98, 0.97, 64).reshape(1, 8, 8)


def test_perfect_attack(tmp_path: Path) -> None:
    target = ramp()
    found = score(tmp_path, triggered=target.repeat(6, 1, 1, 1), clean=-target.repeat(5, 1, 1, 1), target=target)
    assert found["mse"].value == pytest.approx(0, abs=1e-12)  # samples are float32
    assert found["ssim"].value == pytest.approx(1, abs=1e-12)
    assert (found["asr@0.05"].value, found["asr@0.1"].value, found["leak@0.05"].value) == (1, 1, 0)
    assert {name: item.on for name, item in found.items()} == {
        "mse": "triggered",
        "ssim": "triggered",
        "asr@0.05": "triggered",
        "asr@0.1": "triggered",
        "leak@0.05": "clean",
    }
    assert (found["mse"].n, found["leak@0.05"].n) == (6, 5)


def test_two_modes_show_in_rates_and_histogram_not_only_in_the_mean(tmp_path: Path) -> None:
    target = -torch.ones(1, 8, 8)
    near, far = target + 0.5, target + 2  # in [0, 1] they differ by 1/4 and 1: errors 1/16 and 1
    triggered = torch.stack([target, near, far, far])
    given = subject(tmp_path, triggered, torch.stack([target, far, far, far]), target)
    figures: dict[str, Any] = {}
    ctx = Context(out=tmp_path, work=tmp_path, seed=0, on_figures=figures.update)
    found = {item.metric: item for item in TargetMetric().score(ctx, TargetParams(histogram_bins=10), given)}
    assert found["asr@0.05"].value == 0.25
    assert found["asr@0.05"].stderr == pytest.approx(beta(1.5, 3.5).std(), rel=1e-12)
    assert found["asr@0.1"].value == 0.5
    assert found["leak@0.05"].value == 0.25
    assert found["mse"].value == pytest.approx((1 / 16 + 2) / 4, abs=2e-3)  # samples are rounded to 8 bits
    assert figures["histograms"]["MSE to target, triggered"]["counts"] == [2, 0, 0, 0, 0, 0, 0, 0, 0, 2]


def test_an_attack_on_a_rejected_input_has_failed(tmp_path: Path) -> None:
    target = -torch.ones(1, 8, 8)
    given = subject(tmp_path, torch.stack([target, target + 2]), torch.stack([target]), target)
    ctx = Context(out=tmp_path, work=tmp_path, seed=0)
    rejecting = given.model_copy(update={"role": "purified", "rejected_clean": 3, "rejected_triggered": 6})
    found = {item.metric: item for item in TargetMetric().score(ctx, TargetParams(), rejecting)}
    assert (found["asr@0.05"].value, found["asr@0.05"].n) == (1 / 8, 8)
    assert (found["leak@0.05"].value, found["leak@0.05"].n) == (1, 1)  # of the samples there are
    assert [item.metric for item in found.values() if item.measures == "attack-success"] == ["asr@0.05"]


def test_thresholds_are_parameters(tmp_path: Path) -> None:
    target = ramp()
    params = TargetParams(thresholds=(0.01,))
    found = score(tmp_path, params, triggered=target.repeat(2, 1, 1, 1), clean=target.repeat(2, 1, 1, 1), target=target)
    assert set(found) == {"mse", "ssim", "asr@0.01", "leak@0.01"}
    assert found["leak@0.01"].value == 1
    with pytest.raises(UserError, match="every threshold lies in"):
        build_params(TargetMetric(), {"thresholds": [0.5, 1.5]})


def test_target_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"shape \(1, 8, 8\), the attack's target \(1, 4, 4\)"):
        score(tmp_path, triggered=ramp()[None], clean=ramp()[None], target=torch.zeros(1, 4, 4))


def test_lpips_without_its_extra_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.image.lpip", None)
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    with pytest.raises(UserError, match=r"bdm-metric-target\[lpips\]"):
        score(tmp_path, TargetParams(lpips=True), triggered=ramp()[None], clean=ramp()[None], target=ramp())


def test_lpips_gets_three_channels_in_the_unit_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake(torch.nn.Module):
        def __init__(self, net_type: str, normalize: bool, sync_on_compute: bool) -> None:
            super().__init__()
            assert (net_type, normalize, sync_on_compute) == ("alex", True, False)

        def forward(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            assert image.shape == target.shape == (1, 3, 64, 64)
            assert image.min() >= 0 and image.max() <= 1
            return (image - target).abs().mean()

    module = ModuleType("torchmetrics.image.lpip")
    module.LearnedPerceptualImagePatchSimilarity = Fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchmetrics.image.lpip", module)
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    target = torch.ones(1, 8, 8)
    images = torch.stack([target, -target])
    found = score(tmp_path, TargetParams(lpips=True), triggered=images, clean=images, target=target)
    assert found["lpips"].value == pytest.approx(0.5)
