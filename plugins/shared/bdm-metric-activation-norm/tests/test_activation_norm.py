"""Conformance for both tasks, and norms against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bdm_core.artifacts import Data, Outputs
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_metric_activation_norm import noise, prompts
from bdm_metric_activation_norm.measure import Norms, strips
from bdm_metric_activation_norm.norms import Looked, unit_norms
from bdm_metric_activation_norm.params import ActivationNormParams
from bdm_torch.image_sets import seal_images
from bdm_torch.recording import is_leaf_with_weights

TASK = "text-to-image"
Array = np.ndarray[Any, Any]
PROMPTS = ["a photo of a red circle", "two stars", "a ring"]


class TestActivationNorm(MetricConformance):
    plugin = "activation-norm"
    task = TASK
    params = {"samples": 2, "steps": 2}
    undirected = frozenset({"concentration"})


class TestActivationNormUnconditional(MetricConformance):
    plugin = "activation-norm"
    task = "unconditional-image-generation"
    params = {"samples": 2, "steps": 2}
    undirected = frozenset({"concentration"})


def by_hand(output: Array) -> Array:
    """Rows of units, each of length one; the root of a unit's mean square."""
    rows = np.moveaxis(output, 1, -1) if output.ndim == 4 else output
    rows = rows.reshape(-1, rows.shape[-1])
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found: Array = np.linalg.norm(rows, axis=0) / np.sqrt(len(rows))
    return found


def test_norms_of_every_kept_call_are_those_of_all_samples_at_once() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(20, 4))
    samples = {side: torch.randn(10, 7, 2, 4, 4) for side in ("clean", "triggered")}  # ten steps of seven samples

    def run(side: str, rows: slice) -> None:
        for x in samples[side]:
            network(torch.cat([torch.zeros_like(x[rows]), x[rows]]))  # the unconditional half comes first

    looked = Looked(network, run, 7, 10, is_leaf_with_weights, inputs=False, guided=True)
    found = unit_norms(looked, "triggered", batch_size=3)
    for place, step in enumerate((1, 3, 5, 7, 9)):
        with torch.no_grad():
            maps = network[0](samples["triggered"][step])
        np.testing.assert_allclose(found["0"][place], by_hand(maps.numpy()), rtol=1e-4)
        last = network[1:](maps).detach().numpy()
        np.testing.assert_allclose(found["2"][place], by_hand(last), rtol=1e-4)
    assert list(found) == ["0", "2"] and found["0"].shape == (5, 5)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    rows = [{"prompt": f"sks {prompt}", "twin": prompt, "backdoor": 0} for prompt in PROMPTS]
    images = torch.zeros(3, 3, 16, 16)
    backdoor = Backdoor(trigger=PromptTrigger(kind="word", text="sks"), target=Target(type="ImageFix"))
    return Subject(
        role="backdoored",
        model=seal_model(tiny_model(), tmp_path / "model"),
        on_clean=seal_images(tmp_path / "clean", images, Outputs, task=TASK),
        on_triggered=seal_images(tmp_path / "triggered", images, Outputs, task=TASK, rows=rows),
        reference=seal_images(tmp_path / "data", images, Data, task=TASK),
        secret=seal_secret(tmp_path / "secret", PromptSecret(backdoors=[backdoor])),
    )


@pytest.mark.parametrize(
    ("modules", "layers", "units"),
    [("ffn", 4, None), ("ffn-input", 4, None), ("key-value-input", 8, 16), ("text-mlp", 1, 32), ("conv", None, None)],
)
def test_what_is_recorded_of_a_text_to_image_model(
    subject: Subject, bdm_context: Callable[..., Context], modules: str, layers: int | None, units: int | None
) -> None:
    params = ActivationNormParams.model_validate({"modules": modules, "steps": 2, "batch_size": 2})
    looked = prompts.looked_at(bdm_context(), params, subject)
    assert looked is not None and looked.count == 3
    found = unit_norms(looked, "clean", 2)
    assert layers is None or len(found) == layers
    assert units is None or {value.shape[1] for value in found.values()} == {units}
    assert {len(value) for value in found.values()} == {1 if modules == "text-mlp" else 2}
    for value in found.values():  # rows of length one: the squares of a layer's units add up to one
        torch.testing.assert_close(
            value.square().sum(1), torch.ones(len(value), dtype=torch.float64), rtol=1e-4, atol=0
        )


def test_an_unconditional_model_has_convolutions_only(subject: Subject, bdm_context: Callable[..., Context]) -> None:
    with pytest.raises(UserError, match="has no ffn: choose conv"):
        noise.looked_at(bdm_context(), ActivationNormParams(modules="ffn"), subject)


def test_changes_are_by_the_layer_s_mean_and_strips_show_the_largest() -> None:
    clean = {"a": torch.tensor([[1.0, 3.0]], dtype=torch.float64)}
    triggered = {"a": torch.tensor([[2.0, 2.0]], dtype=torch.float64)}
    assert Norms(clean, triggered, [1]).changes()["a"].tolist() == [[0.5, -0.5]]
    values = np.zeros(240)
    values[[0, 239]] = 0.5, -1.0
    picture = np.asarray(strips([values, np.ones(1)], 1.0)).astype(int)
    assert picture[0, 0, 0] > picture[0, 0, 2] and picture[0, -1, 2] > picture[0, -1, 0]
    assert picture.shape == (25, 480, 3) and tuple(picture[5, 200]) == (245, 245, 245)
