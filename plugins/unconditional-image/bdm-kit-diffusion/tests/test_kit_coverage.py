"""What a calibration covers, and networks that are not trained."""

from __future__ import annotations

import diffusers
import pytest
import torch

from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.coverage import known_model, out_of_reach, traits_of, unexplained_noise
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model
from bdm_kit_diffusion.noise.exact_predictor import ExactPredictor
from bdm_kit_diffusion.recipes.digits_ddpm import untrained_model
from bdm_torch.calibration_file import Calibration, ModelRecord

DIGITS = {"noise": "variance preserving", "space": "pixels"}


def covering(shape: tuple[int, int, int], traits: dict[str, str] | None = None) -> Calibration:
    record = ModelRecord(name="known", shape=shape, features=[0.0], traits=DIGITS if traits is None else traits)
    return Calibration(recipe="", configuration={}, records=[record])


def test_best_predictor_leaves_no_noise_and_an_untrained_network_all() -> None:
    scheduler = diffusers.DDPMScheduler(40, beta_start=2.5e-3, beta_end=0.5, clip_sample=False)
    exact = DiffusionModel(ExactPredictor(scheduler, (1, 8, 8), None, torch.zeros(1, 8, 8)), scheduler)
    assert unexplained_noise(exact) < 0.01
    assert unexplained_noise(load_model(BUILTIN / "digits-tiny")) < 0.02
    assert unexplained_noise(untrained_model("digits-tiny")) > 0.9


def test_an_untrained_network_is_out_of_reach_also_where_its_shape_is_covered() -> None:
    reason = out_of_reach("elijah", untrained_model("digits-tiny"), covering((1, 8, 8)))
    assert reason.startswith("cannot tell: the network does not see noise as noise")
    damaged = load_model(BUILTIN / "digits-tiny")
    with torch.no_grad():
        damaged.unet.conv_out.weight[0, 0, 0, 0] = float("nan")
    assert out_of_reach("elijah", damaged, covering((1, 8, 8))).startswith("cannot tell")


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (covering((3, 8, 8)), "covers models of 3x8x8"),
        (covering((1, 16, 16)), "covers models of 1x16x16"),
        (covering((1, 8, 8), DIGITS | {"noise": "variance exploding"}), "exploding"),
        (covering((1, 8, 8), DIGITS | {"space": "latents"}), "latents"),
    ],
)
def test_another_shape_noise_or_space_is_out_of_reach(known: Calibration, words: str) -> None:
    reason = out_of_reach("terd", load_model(BUILTIN / "digits-tiny"), known)
    assert reason.startswith("cannot tell") and words in reason and "bdm calibrate terd" in reason


def test_what_is_covered_and_files_without_traits() -> None:
    model = load_model(BUILTIN / "digits-tiny")
    assert out_of_reach("terd", model, covering((1, 8, 8))) == ""
    assert out_of_reach("terd", model, covering((1, 8, 8), {})) == ""
    assert known_model("mine", model).traits == traits_of(model) == DIGITS
    backdoored = ModelRecord(name="b", shape=(1, 8, 8), features=[0.0], backdoored=True)
    assert Calibration(recipe="", configuration={}, records=[backdoored]).outside((1, 8, 8), DIGITS)
