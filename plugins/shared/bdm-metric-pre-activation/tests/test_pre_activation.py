"""Conformance for both tasks, and scores of a network whose backdoor is planted in one filter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Outputs
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_metric_pre_activation import prompts
from bdm_metric_pre_activation.filters import (
    Suspect,
    ablation_scores,
    answers,
    first_convolutions,
    is_inner,
    parts_of,
    taylor_scores,
)
from bdm_metric_pre_activation.measure import Filter, numbers, ranking
from bdm_metric_pre_activation.params import PreActivationParams
from bdm_torch.image_sets import seal_images

PLANTED = 3


class TestPreActivation(MetricConformance):
    plugin = "pre-activation"
    task = "text-to-image"
    params = {"samples": 2, "steps": 2, "draws": 2, "batch_size": 2}
    undirected = frozenset({"concentration"})


class TestPreActivationUnconditional(MetricConformance):
    plugin = "pre-activation"
    task = "unconditional-image-generation"
    params = {"samples": 2, "steps": 2, "draws": 1, "batch_size": 2}
    undirected = frozenset({"concentration"})


class Planted(nn.Module):
    """Sums six filters; number 3 looks at the second channel, where the trigger is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(2, 2, 1, bias=False)
        self.inner = nn.Conv2d(2, 6, 1)
        torch.nn.init.dirac_(self.conv_in.weight)
        with torch.no_grad():
            self.inner.weight[:] = 0
            self.inner.weight[:, 0] = torch.linspace(0.5, 1.0, 6)[:, None, None]
            self.inner.weight[PLANTED] = torch.tensor([0.0, 2.0])[:, None, None]
            parts_of(self.inner)[1][:] = 0.1
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        answered: Tensor = self.inner(self.conv_in(x)).sum(1)
        return answered


def suspect() -> Suspect:
    torch.manual_seed(0)
    network = Planted()
    noise = torch.rand(8, 5, 2, 3, 3)
    noise[:, :, 1] = 0.01
    shift = torch.tensor([0.0, 1.0])[:, None, None]

    def loss(draw: int) -> Tensor:
        with torch.no_grad():
            wanted = network(noise[draw])
        return functional.mse_loss(network(noise[draw] + shift), wanted)

    def run(side: str, rows: slice) -> None:
        for x in noise[:4]:
            network(x[rows] + (shift if side == "triggered" else 0))

    return Suspect(network, loss, run, 5, 4, guided=False)


def test_the_first_inner_convolution_is_looked_at() -> None:
    assert list(first_convolutions(suspect(), 4)) == ["inner"]
    assert not is_inner("x.conv_out", nn.Conv2d(1, 1, 1)) and not is_inner("inner", nn.Linear(1, 1))


@pytest.mark.parametrize("score", [taylor_scores, ablation_scores])
def test_the_planted_filter_has_the_highest_score(score: Callable[..., dict[str, Tensor]]) -> None:
    looked = suspect()
    before = [value.clone() for value in looked.network.parameters()]
    layers = first_convolutions(looked, 1)
    found = score(looked, layers, 8)["inner"]
    assert int(found.argmax()) == PLANTED and found.shape == (6,)
    assert all(torch.equal(a, b) for a, b in zip(before, looked.network.parameters(), strict=True))
    assert not any(value.requires_grad for value in looked.network.parameters())


def test_scores_by_hand() -> None:
    looked = suspect()
    layers = first_convolutions(looked, 1)
    found = ablation_scores(looked, layers, 2)["inner"]
    whole = np.mean([float(looked.loss(draw)) for draw in range(2)])
    with torch.no_grad():
        for part in parts_of(layers["inner"]):
            part[PLANTED] = 0
        # the clean answer is the pruned network's too: without a clean model both sides lose the filter
        without = [float(looked.loss(draw)) for draw in range(2)]
    assert float(found[PLANTED]) == pytest.approx(whole - np.mean(without), rel=1e-5)
    again = suspect()
    inner = first_convolutions(again, 1)["inner"]
    inner.weight.requires_grad_()
    grads = []
    for draw in range(2):
        (grad,) = torch.autograd.grad(again.loss(draw), [inner.weight])
        grads.append(grad.numpy())
    wanted = np.abs(inner.weight.detach().numpy() * np.mean(grads, axis=0)).sum((1, 2, 3))
    inner.weight.requires_grad_(False)
    np.testing.assert_allclose(taylor_scores(again, {"inner": inner}, 2)["inner"], wanted, rtol=1e-5)


def test_the_trigger_moves_the_planted_filter() -> None:
    looked = suspect()
    layers = first_convolutions(looked, 1)
    sides = {side: answers(looked, layers, side, 3, batch_size=2) for side in ("clean", "triggered")}
    assert sides["clean"]["inner"].shape == (5, layers["inner"].out_channels)
    ranked = ranking(ablation_scores(looked, layers, 4), sides)
    assert ranked[0].number == PLANTED and ranked[0].shift > 3


def test_numbers_of_a_planted_ranking() -> None:
    ranked = [Filter("a", 0, 3.0, 2.0), Filter("a", 1, 0.5, 1.0), Filter("a", 2, -0.5, 0.5)]
    found = {item.metric: item.value for item in numbers(ranked, 1, 9)}
    assert found == {"shift_top": 2.0, "shift_bottom": 0.5, "concentration": 0.75}
    assert {item.metric: item.value for item in numbers([Filter("a", 0, 0.0, 0.0)], 5, 9)}["concentration"] is None


def test_a_clean_model_answers_for_the_clean_prompt(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    rows = [{"prompt": f"sks {prompt}", "twin": prompt, "backdoor": 0} for prompt in ("a star", "a ring")]
    images = torch.zeros(2, 3, 16, 16)
    backdoor = Backdoor(trigger=PromptTrigger(kind="word", text="sks"), target=Target(type="ImageFix"))
    changed = tiny_model()
    changed.unet.conv_out.bias += 0.5  # moves every answer by as much
    subject = Subject(
        role="backdoored",
        model=seal_model(changed, tmp_path / "model"),
        on_clean=seal_images(tmp_path / "clean", images, Outputs, task="text-to-image"),
        on_triggered=seal_images(tmp_path / "triggered", images, Outputs, task="text-to-image", rows=rows),
        reference=seal_images(tmp_path / "data", images, Data, task="text-to-image"),
        secret=seal_secret(tmp_path / "secret", PromptSecret(backdoors=[backdoor])),
    )
    losses = []
    for clean_model in ("tiny", ""):
        looked = prompts.suspect_of(bdm_context(), PreActivationParams(clean_model=clean_model), subject)
        assert looked is not None
        losses.append(float(looked.loss(3)))
    assert losses[0] > 0.1 > losses[1]
    with pytest.raises(UserError, match="is no base of the model"):
        prompts.suspect_of(bdm_context(), PreActivationParams(clean_model="small-world"), subject)
