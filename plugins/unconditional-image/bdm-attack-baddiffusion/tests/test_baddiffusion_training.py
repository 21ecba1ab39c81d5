"""What ``attack:baddiffusion`` trains: the coefficients of the paper, triggers pasted over the images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bdm_attack_baddiffusion import attack
from bdm_attack_baddiffusion.params import BadDiffusionParams
from bdm_attack_baddiffusion.plugin import BadDiffusion
from bdm_core import hooks
from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_diffusers.coefficients import PoisonSchedule
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.poison.poisoning import open_poisoned
from bdm_torch.pictures.triggers import make_trigger

TASK = "unconditional-image-generation"


@pytest.fixture
def bench(bdm_bench: Callable[..., Bench]) -> Bench:
    return bdm_bench(TASK)


def test_shift_and_target_are_equation_9(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[PoisonSchedule] = []
    monkeypatch.setattr(attack, "inject", lambda ctx, model, data, schedule, options, *, meta: seen.append(schedule))
    attack.backdoor(bench.context("inject-backdoor"), BadDiffusionParams(), bench.model, bench.data)
    alphas = 1 - load_model(bench.model).scheduler.betas.double()
    abar = torch.stack([alphas[: t + 1].prod() for t in range(len(alphas))])
    torch.testing.assert_close(seen[0].rho.double(), 1 - abar.sqrt(), rtol=0, atol=1e-6)
    expected = (1 - alphas.sqrt()) * (1 - abar).sqrt() / (1 - alphas)
    torch.testing.assert_close(seen[0].R.double(), expected, rtol=0, atol=1e-5)
    assert seen[0].solver == "sde"


def test_poisoned_rows_have_the_trigger_over_a_training_image(bench: Bench) -> None:
    params = build_params(BadDiffusion(), {"trigger": "box", "poison_rate": 0.5})
    inputs: dict[str, Any] = {"data": bench.data, "split": "train", "secret": None}
    poisoned = open_poisoned(bench.call(hooks.poison_data, [BadDiffusion()], params, **inputs).value)
    _, shift = poisoned.batch(torch.arange(len(poisoned.images)))
    inside = make_trigger("box", (1, 8, 8)).mask.bool().expand(1, 8, 8)
    assert torch.equal(
        shift[poisoned.poisoned][:, inside], torch.zeros(int(poisoned.poisoned.sum()), int(inside.sum()))
    )
    outside = shift[poisoned.poisoned][:, ~inside]
    assert not torch.equal(outside[0], outside[1])  # each row keeps its own image around the trigger


def test_the_paper_s_preset_is_a_valid_set_of_parameters() -> None:
    assert build_params(BadDiffusion(), {"preset": "paper"}).model_dump()["learning_rate"] == 2e-4
