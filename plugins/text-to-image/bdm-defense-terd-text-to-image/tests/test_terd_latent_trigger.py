"""A planted predictor with a trigger in its latents: the estimate moves to it, as the unconditional search does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from bdm_core.context import Context
from bdm_defense_terd_text_to_image.detection import CALIBRATED, detect, under_prompt
from bdm_defense_terd_text_to_image.params import TerdTextToImageParams
from bdm_kit_diffusion.inversion.pair_search import search
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_torch.calibration import conformal_of_several
from bdm_torch.calibration_file import Calibration, ModelRecord

TRIGGER = 0.6 * torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(2))


class Planted(nn.Module):
    """Sees noise near the trigger only: there the answers to two noises differ by their difference, else by less."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.weight, self.config = nn.Parameter(torch.zeros(())), config

    def answer(self, x: Tensor) -> Tensor:
        near = torch.exp(-(x - TRIGGER).square().mean((1, 2, 3), keepdim=True) / 2)
        return near * (x - TRIGGER) / torch.exp(torch.tensor(-0.5)) + 0.5 * TRIGGER + self.weight

    def forward(self, x: Tensor, t: Tensor, *, encoder_hidden_states: Tensor, added_cond_kwargs: Any) -> Any:
        return SimpleNamespace(sample=self.answer(x))


def fast(**more: Any) -> TerdTextToImageParams:
    given = {"starts": ("-U(0,1)",), "refinement_steps": 0, "pairs": 4, "evaluation_pairs": 16, "window": 0.05}
    return TerdTextToImageParams(**{**given, **more})  # type: ignore[arg-type]


def test_the_estimate_moves_to_the_planted_trigger_as_the_unconditional_search_does() -> None:
    model = tiny_model()
    model.unet = Planted(model.unet.config)
    view = under_prompt(model, "a red star")
    params = fast(estimation_steps=60, estimation_learning_rate=0.3, first_deviation=1.0, deviation_learning_rate=0.0)
    found = search(view, params, 0).chosen

    class Plain(Planted):
        def forward(self, x: Tensor, t: Tensor) -> Any:  # type: ignore[override]
            return SimpleNamespace(sample=self.answer(x))

    plain = DiffusionModel(Plain(model.unet.config), view.scheduler, first_stage=view.first_stage)
    torch.testing.assert_close(found.trigger, search(plain, params, 0).chosen.trigger)
    before, after = (float((value - TRIGGER).norm()) for value in (found.start, found.trigger))
    assert after < 0.8 * before and found.loss < found.start_loss


def test_without_clean_models_it_cannot_tell_and_one_that_sees_no_noise_is_no_case(
    tmp_path: Path, bdm_context: Callable[..., Context]
) -> None:
    params = fast(estimation_steps=1, pairs=1, samples=8, evaluation_pairs=8)
    path = tmp_path / "calibration.json"
    path.write_text(Calibration(recipe="by hand", configuration={}, records=[]).model_dump_json())
    given = params.model_copy(update={"calibration": str(path)})
    found = detect(bdm_context(), given, seal_model(tiny_model(), tmp_path / "model"))
    assert not found.conclusive and "no clean models are known" in found.note and found.p_value is None
    records = [ModelRecord(name=name, shape=(4, 8, 8), features=[0.1, 0.2]) for name in ("one", "two", "three")]
    path.write_text(Calibration(recipe="by hand", configuration={}, records=records).model_dump_json())
    again = detect(bdm_context(seed=1), given, seal_model(tiny_model(), tmp_path / "again"))
    assert not again.conclusive and "does not see noise" in again.note and again.p_value is None


def test_the_shipped_calibration_fits_the_defaults_and_finds_its_own_models_clean() -> None:
    known = CALIBRATED.read()
    assert CALIBRATED.other_settings(TerdTextToImageParams(), known) == ""
    assert not known.outside((4, 8, 8), {"noise": "variance preserving", "space": "latents"})
    clean = known.clean()
    assert len(clean) >= 18
    for features in clean:
        assert not conformal_of_several(features, clean, 0.01).backdoored
    planted = conformal_of_several([0.28, 0.17], clean, 0.01)  # as with villan-image
    assert planted.backdoored and planted.score > 10
