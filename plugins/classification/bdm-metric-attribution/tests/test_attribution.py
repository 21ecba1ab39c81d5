"""Closed forms on linear networks, and a trigger whose place is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from bdm_core.testing import MetricConformance
from bdm_kit_classification.testing.planted import Planted, plant, without_norms
from bdm_kit_classification.testing.subjects import keeping, planted_subject
from bdm_metric_attribution.measure import measure
from bdm_metric_attribution.params import AttributionParams
from bdm_metric_attribution.saliency import frequency_saliency, grad_cam, shap_values


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


class TestAttribution(MetricConformance):
    plugin = "attribution"
    params = {"samples": 2, "background": 2}


class Linear(nn.Module):
    """Maps by one convolution, their means, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(2, 3, 1, bias=False), nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).mean((2, 3)))  # type: ignore[no-any-return]


PICTURES = torch.rand(5, 2, 6, 6, generator=torch.Generator().manual_seed(2))
CLASSES = torch.tensor([0, 1, 2, 3, 0])


def test_grad_cam_of_means_is_the_maps_weighted_by_the_head() -> None:
    model = Linear()
    found = grad_cam(model, model.conv, PICTURES, CLASSES)
    with torch.no_grad():
        wanted = torch.einsum("nchw,nc->nhw", model.conv(PICTURES), model.head.weight[CLASSES]).clamp_min(0)
    wanted = wanted / wanted.amax((1, 2), keepdim=True).clamp_min(1e-12)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_shap_values_of_a_linear_network() -> None:
    model, background = Linear(), torch.rand(1, 2, 6, 6, generator=torch.Generator().manual_seed(3))
    found = shap_values(model, PICTURES, CLASSES, background, 2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        weight = torch.einsum("nk,kc->nc", model.head.weight[CLASSES], model.conv.weight[:, :, 0, 0]) / 36
        assert torch.allclose(found, (PICTURES - background) * weight[:, :, None, None], atol=1e-6)
        rise = (model(PICTURES) - model(background)).gather(1, CLASSES[:, None])[:, 0]
    assert torch.allclose(found.sum((1, 2, 3)), rise, atol=1e-5)


def test_shap_values_sum_to_the_rise_of_a_network_that_is_not_linear() -> None:
    model, background = nn.Sequential(Linear(), nn.Tanh(), nn.Linear(4, 4)), torch.zeros(1, 2, 6, 6)
    found = shap_values(model, PICTURES * 3, CLASSES, background, 200, torch.Generator().manual_seed(0))
    with torch.no_grad():
        rise = (model(PICTURES * 3) - model(background)).gather(1, CLASSES[:, None])[:, 0]
    assert torch.allclose(found.sum((1, 2, 3)), rise, atol=2e-3)


def test_frequency_saliency_of_a_linear_network_is_the_transform_of_its_weights() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 4, bias=False))
    found = frequency_saliency(model, torch.rand(1, 1, 6, 6), torch.tensor([2]))
    weight = model[1].weight[2].detach().reshape(6, 6).double()  # type: ignore[union-attr, operator, index]
    bells = torch.exp(-2j * torch.pi * torch.outer(torch.arange(6), torch.arange(6)) / 6) / 6**0.5
    wanted = (bells.to(torch.complex128) @ weight.to(torch.complex128) @ bells.to(torch.complex128)).abs()
    assert torch.allclose(found.double(), wanted.roll((3, 3), (0, 1)), atol=1e-5)


def test_the_trigger_is_found_on_the_planted_network(planted: Planted, tmp_path: Path) -> None:
    ctx, kept = keeping(tmp_path / "ctx")
    found = measure(ctx, AttributionParams(samples=8), planted_subject(planted, tmp_path / "subject"))
    numbers = {item.metric: item.value for item in found}
    pixels = 9 / 256
    assert numbers["shap_on_trigger"] is not None and numbers["shap_on_trigger"] > 8 * pixels
    assert numbers["cam_on_trigger"] is not None and numbers["cam_on_trigger"] > 2 * pixels
    assert set(kept["pictures"]) == {"Grad-CAM", "SHAP values", "Frequency saliency"}


def test_a_transformer_has_no_feature_maps_and_the_stage_says_so(planted: Planted, tmp_path: Path) -> None:
    ctx, kept = keeping(tmp_path)
    subject = planted_subject(planted, tmp_path / "s", model=without_norms(tmp_path / "vit"))
    found = measure(ctx, AttributionParams(samples=2, background=2), subject)
    assert {item.metric for item in found} == {"shap_on_trigger"}
    assert kept["left_out"].startswith("Grad-CAM: TransformersClassifier has no feature maps")
