"""Conformance of ``attack:baddiffusion``; what it trains: the paper's coefficients, triggers pasted over images."""

from __future__ import annotations

import pytest
import torch

from bdm_attack_baddiffusion import attack
from bdm_attack_baddiffusion.plugin import BadDiffusion, BadDiffusionParams
from bdm_core.run.specification import build_params
from bdm_core.testing import AttackConformance
from bdm_core.testing.tiny import Bench
from bdm_diffusers.coefficients import PoisonSchedule
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.poison.poisoning import open_poisoned
from bdm_kit_diffusion.poison.secret_facts import SecretFacts
from bdm_torch.pictures.triggers import make_trigger


class TestBaddiffusion(AttackConformance):
    plugin = "baddiffusion"
    params = {"steps": 4, "batch_size": 8, "poison_rate": 0.25}

    def test_shift_and_target_are_equation_9(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[PoisonSchedule] = []
        monkeypatch.setattr(
            attack, "inject", lambda ctx, model, data, schedule, options, *, facts: seen.append(schedule)
        )
        ctx, options = bench.context("inject-backdoor"), BadDiffusionParams().options()
        attack.backdoor(ctx, bench.model, bench.data, options, SecretFacts())
        alphas = 1 - load_model(bench.model).scheduler.betas.double()
        abar = torch.stack([alphas[: t + 1].prod() for t in range(len(alphas))])
        torch.testing.assert_close(seen[0].rho.double(), 1 - abar.sqrt(), rtol=0, atol=1e-6)
        expected = (1 - alphas.sqrt()) * (1 - abar).sqrt() / (1 - alphas)
        torch.testing.assert_close(seen[0].R.double(), expected, rtol=0, atol=1e-5)
        assert seen[0].solver == "sde"

    def test_poisoned_rows_have_the_trigger_over_a_training_image(self, bench: Bench) -> None:
        params = build_params(BadDiffusion(), {"trigger": "box", "poison_rate": 0.5})
        poisoned = open_poisoned(bench.call("poison_data", [BadDiffusion()], params, data=bench.data).value)
        _, shift = poisoned.batch(torch.arange(len(poisoned.images)))
        inside = make_trigger("box", (1, 8, 8)).mask.bool().expand(1, 8, 8)
        assert not shift[poisoned.poisoned][:, inside].any()
        outside = shift[poisoned.poisoned][:, ~inside]
        assert not torch.equal(outside[0], outside[1])  # each row keeps its own image around the trigger

    def test_the_paper_s_preset_is_a_valid_set_of_parameters(self) -> None:
        assert build_params(BadDiffusion(), {"preset": "paper"}).model_dump()["learning_rate"] == 2e-4
