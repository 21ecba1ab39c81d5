"""Spectra and losses that are known in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bdm_core.testing import MetricConformance
from bdm_kit_classification.testing.planted import CLASSES, Planted, plant, without_norms
from bdm_kit_classification.testing.subjects import keeping, planted_subject
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_metric_landscape.hessian import density, hessian_product, lanczos, spectrum
from bdm_metric_landscape.measure import measure
from bdm_metric_landscape.params import LandscapeParams
from bdm_metric_landscape.walk import between, landscape


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


class TestLandscape(MetricConformance):
    plugin = "landscape"
    params = {"samples": 4, "points": 3, "lanczos_steps": 2, "probes": 1}
    undirected = frozenset(f"{loss}_{which}_eigenvalue" for loss in ("clean", "poison") for which in ("top", "mean"))


def quadratic() -> tuple[nn.Linear, torch.Tensor, np.ndarray[Any, Any]]:
    """A linear network with a squared loss, whose Hessian is the rows' second moment for each output."""
    torch.manual_seed(0)
    net, rows = nn.Linear(5, 2, bias=False), torch.randn(20, 5)
    second = (rows.T @ rows / 20).double().numpy()
    return net, rows, np.kron(np.eye(2), second)


def test_lanczos_finds_the_eigenvalues_of_a_quadratic_network() -> None:
    net, rows, hessian = quadratic()
    multiply = hessian_product(lambda: net(rows).square().sum() / 40, [net.weight])
    vector = torch.randn(10)
    assert np.allclose(multiply(vector).numpy(), hessian @ vector.double().numpy(), atol=1e-4)
    wanted = np.linalg.eigvalsh(hessian)
    values, weights = lanczos(multiply, 10, 10, torch.Generator().manual_seed(0))
    away = np.abs(wanted[:, None] - values.numpy())  # each is there twice, and is found once or twice
    assert away.min(0).max() < 1e-3 and away.min(1).max() < 1e-3
    assert float(weights.sum()) == pytest.approx(1)
    found = spectrum(multiply, 10, 10, 400, 0)
    assert found.top == pytest.approx(wanted[-1], rel=1e-4)
    assert found.mean == pytest.approx(wanted.mean(), rel=0.1)
    places, heights = density(found)
    assert float(torch.trapezoid(heights, places)) == pytest.approx(1, abs=0.02)


def test_lanczos_of_any_symmetric_matrix() -> None:
    half = torch.randn(12, 12, generator=torch.Generator().manual_seed(3)).double()
    matrix = half + half.T
    values, weights = lanczos(lambda v: (matrix @ v.double()).float(), 12, 50, torch.Generator().manual_seed(1))
    assert np.allclose(values.numpy(), np.linalg.eigvalsh(matrix.numpy()), atol=1e-4)
    assert float((values * weights).sum()) == pytest.approx(float(values.mean()), abs=3.0)


def test_the_landscape_of_a_quadratic_network_is_a_bowl() -> None:
    net, rows, _ = quadratic()
    with torch.no_grad():
        net.weight.mul_(1e-3)
    before = net.weight.detach().clone()
    made = landscape(net, lambda: [float(net(rows).square().mean())], 5, 1.0, torch.Generator().manual_seed(0))
    assert made.shape == (1, 5, 5) and torch.equal(net.weight, before)
    along = made[0, 2]
    assert torch.allclose(along.diff(n=3), torch.zeros(2, dtype=torch.float64), atol=1e-9)


def test_the_way_between_two_networks_is_straight_and_leaves_them_alone() -> None:
    one, other = nn.Linear(2, 1), nn.Linear(2, 1)
    before = one.weight.detach().clone()
    found = between(one, other, lambda: [float(one(torch.ones(1, 2)).detach())], [0.0, 0.5, 1.0])[0]
    ends = [float(net(torch.ones(1, 2)).detach()) for net in (one, other)]
    assert found.tolist() == pytest.approx([ends[0], sum(ends) / 2, ends[1]], abs=1e-6)
    assert torch.equal(one.weight, before)


def test_a_planted_backdoor_has_a_small_poison_loss_and_a_repair_a_path(planted: Planted, tmp_path: Path) -> None:
    ctx, kept = keeping(tmp_path / "ctx")
    params = LandscapeParams(samples=12, points=3, lanczos_steps=3, probes=1)
    given = planted_subject(planted, tmp_path / "subject", role="repaired", undefended=planted.model)
    numbers = {item.metric: item.value for item in measure(ctx, params, given)}
    assert numbers["poison_loss"] is not None and numbers["poison_loss"] < 0.05
    assert kept["arrays"]["poison loss on the path"]["values"] == pytest.approx([numbers["poison_loss"]] * 3, rel=1e-2)
    assert set(kept["pictures"]) == {
        "Hessian spectrum",
        "Loss landscape",
        "Poison loss from the undefended to the repaired model",
    }


def test_an_untargeted_attack_has_no_poison_loss(planted: Planted, tmp_path: Path) -> None:
    ctx, kept = keeping(tmp_path / "ctx")
    rule = LabelRule(kind="untargeted", classes=len(CLASSES))
    given = planted_subject(planted, tmp_path / "subject", rule, role="repaired", undefended=planted.model)
    found = measure(ctx, LandscapeParams(samples=8, points=3, lanczos_steps=2, probes=1), given)
    assert {item.metric for item in found} == {"clean_top_eigenvalue", "clean_mean_eigenvalue"}
    assert "untargeted" in kept["left_out"] and "landscape of the clean loss" in kept["arrays"]


def test_a_vector_is_brought_to_the_device_of_the_parameters() -> None:
    net = nn.Linear(2, 1, device="meta")  # stands for an accelerator
    multiply = hessian_product(lambda: net(torch.ones(1, 2, device="meta")).square().sum(), [*net.parameters()])
    assert multiply(torch.ones(3)).device.type == "meta"


def test_a_transformer_has_a_spectrum(planted: Planted, tmp_path: Path) -> None:
    """Its fast attention has no second derivative."""
    ctx, _ = keeping(tmp_path)
    subject = planted_subject(planted, tmp_path / "s", model=without_norms(tmp_path / "vit"))
    found = measure(ctx, LandscapeParams(samples=8, points=3, lanczos_steps=4, probes=1), subject)
    values = {item.metric: item.value for item in found}
    assert {f"{loss}_top_eigenvalue" for loss in ("clean", "poison")} <= set(values)
    assert all(np.isfinite(value) for value in values.values()) and values["clean_top_eigenvalue"] != 0


def test_parameters_that_are_not_used_have_no_curvature() -> None:
    net, idle = nn.Linear(2, 1, bias=False), nn.Parameter(torch.ones(3))
    multiply = hessian_product(lambda: net(torch.ones(1, 2)).square().sum(), [idle, net.weight])
    assert multiply(torch.ones(5)).tolist() == [0.0, 0.0, 0.0, 4.0, 4.0]
