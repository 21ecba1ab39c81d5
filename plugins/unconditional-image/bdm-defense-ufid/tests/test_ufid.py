"""UFID on networks whose generations are known, and as a plugin."""

import math

import diffusers
import pytest
import torch

from bdm_core.artifacts import Outputs
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, PluginError
from bdm_core.testing import DefenseConformance
from bdm_defense_ufid import detection
from bdm_defense_ufid.detection import detect, graph_densities, reject, standardised
from bdm_defense_ufid.graph import perturbed
from bdm_defense_ufid.params import UfidParams
from bdm_defense_ufid.plugin import Ufid
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import draw_noise, sample
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.data.classifiers import feature_space
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.noise.initial_noise import load_noise, seal_noise
from bdm_torch.calibration import clean_threshold
from bdm_torch.diversity import densities
from bdm_torch.image_sets import seal_images

SHAPE = (1, 8, 8)
TRIGGER = torch.where(torch.arange(64).view(SHAPE) % 8 > 4, 1.0, -1.0)
TARGET = torch.where(torch.arange(64).view(SHAPE) // 8 == 3, 1.0, -1.0)
FAST = {"perturbations": 2, "clean_queries": 10}


class TestUfid(DefenseConformance):
    plugin = "ufid"
    task = "unconditional-image-generation"
    params = FAST


class TestUfidOnPixels(DefenseConformance):
    plugin = "ufid"
    task = "unconditional-image-generation"
    params = {**FAST, "features": "pixels"}


class Oracle(torch.nn.Module):
    """Noise near the trigger becomes the target, all other noise its own sign."""

    config = {"in_channels": 1, "sample_size": 8}

    def __init__(self, scheduler, triggered=TARGET):
        super().__init__()
        self.abar, self.target, self.triggered, self.wanted = scheduler.alphas_cumprod, triggered, None, None

    def forward(self, x, t):
        if t == len(self.abar) - 1:
            fires = (x * TRIGGER).sum((1, 2, 3), keepdim=True) > TRIGGER.norm() ** 2 / 2
            self.wanted = torch.where(fires, self.target, x.sign()) if self.target is not None else x.sign()
        return (x - self.abar[t].sqrt() * self.wanted) / (1 - self.abar[t]).sqrt()


def model_of(target=TARGET):
    scheduler = diffusers.DDPMScheduler(20, beta_start=1e-2, beta_end=0.7, clip_sample=False)
    return DiffusionModel(Oracle(scheduler, target), scheduler)


PARAMS = UfidParams(features="pixels", clean_queries=40)


def asking(folder, model, sampler="ddim"):
    """A context whose black box is this model, sampled in 5 steps."""
    folder.mkdir(exist_ok=True)

    def answer(inputs):
        count = len(list(folder.glob("answer-*")))
        noise, scheduler = load_noise(inputs), build_scheduler(sampler, model.scheduler)
        images = sample(model.unet, scheduler, noise, steps=5, seed=1)
        return seal_images(folder / f"answer-{count}", images, Outputs, task=TASK, layout="float32")

    return Context(folder / "out", folder / "work", 5, on_query=answer)


def test_perturbed_copies_have_unit_variance_and_keep_a_known_share_of_the_query():
    queries, noise = draw_noise(200, SHAPE, 0), draw_noise(600, SHAPE, 1).unflatten(0, (200, 3))
    found = perturbed(queries, noise, 0.75)
    assert found.shape == (200, 4, *SHAPE) and torch.equal(found[:, 0], queries)
    assert float(found[:, 1:].std()) == pytest.approx(1, abs=0.01)
    assert float((found[:, 1] * queries).mean()) == pytest.approx(1 / math.sqrt(1 + 0.75**2), abs=0.02)


def test_density_is_the_mean_cosine_of_all_pairs():
    features = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]], [[1.0, 1.0], [2.0, 2.0], [5.0, 5.0]]])
    half = math.sqrt(0.5)
    torch.testing.assert_close(densities(features), torch.tensor([(0 + half + half) / 3, 1.0]).double())


def test_threshold_holds_for_any_distribution():
    draws = torch.distributions.Exponential(1.0)
    torch.manual_seed(0)
    above = [float(draws.sample()) > clean_threshold(draws.sample((64,)).tolist(), 0.05) for _ in range(4000)]
    assert sum(above) / len(above) == pytest.approx(3 / 65, abs=0.012)
    assert clean_threshold([0.0, 1.0, 2.0, 3.0, 4.0], 0.01) == 4.0


def test_scores_are_in_standard_deviations_of_clean_queries():
    expected = torch.tensor([7.0, -1.0])
    torch.testing.assert_close(standardised(torch.tensor([0.9, 0.1]), torch.tensor([0.1, 0.2, 0.3])), expected)


def triggered(folder, rows=60):
    """Clean noise followed by the same with the trigger, sealed."""
    noise = draw_noise(rows, SHAPE, 9)
    return seal_noise(folder / "inputs", torch.cat([noise, noise + TRIGGER]))


def test_triggered_queries_of_an_oracle_are_separated_and_clean_models_are_not_flagged(tmp_path):
    for name, target in (("backdoored", TARGET), ("clean", None)):
        found = detect(asking(tmp_path / name, model_of(target)), PARAMS, triggered(tmp_path))
        flags = [score > found.threshold for score in found.scores]
        assert sum(flags[:60]) / 60 < 0.2 and found.network_evaluations is None
        if target is not None:
            assert sum(flags[60:]) / 60 > 0.9
            (figure,) = Ufid().illustrate(ctx=None, artifact=found.evidence)
            assert figure.curves["inputs"][-1] > figure.curves["clean queries"][-1]


def test_flagged_inputs_are_turned_away_and_all_others_pass_unchanged(tmp_path):
    inputs = triggered(tmp_path)
    purified = reject(asking(tmp_path / "one", model_of()), PARAMS, inputs, None)
    assert torch.equal(load_noise(purified.inputs), load_noise(inputs))
    assert sum(purified.rejected[:60]) / 60 < 0.2 and sum(purified.rejected[60:]) / 60 > 0.9
    again = reject(asking(tmp_path / "two", model_of(None)), PARAMS, inputs, None)
    assert sum(again.rejected[:60]) / 60 < 0.2


def test_the_clean_queries_of_a_detection_are_not_asked_again(tmp_path):
    inputs = triggered(tmp_path, 6)
    found = detect(asking(tmp_path / "detect", model_of()), PARAMS, inputs)
    assert len(list((tmp_path / "detect").glob("answer-*"))) == 2
    purified = reject(asking(tmp_path / "purify", model_of()), PARAMS, inputs, found)
    assert len(list((tmp_path / "purify").glob("answer-*"))) == 1
    assert purified.rejected == [score > found.threshold for score in found.scores]


def test_density_does_not_depend_on_the_place_of_a_query(tmp_path):
    queries, order = draw_noise(6, SHAPE, 3), [4, 2, 0, 5, 1, 3]
    ctx = asking(tmp_path / "asked", model_of(), "ddpm")
    one, _ = graph_densities(ctx, PARAMS, queries, "one", 2)
    other, _ = graph_densities(ctx, PARAMS, queries[order], "other", 2)
    torch.testing.assert_close(one[order], other)


def test_the_classifier_is_used_where_there_is_one():
    name, embed = feature_space(SHAPE, "auto", "cpu")
    assert name == "digits-classifier" and embed(torch.zeros(2, *SHAPE)).shape == (2, 48)
    assert feature_space((3, 12, 12), "auto", "cpu")[0] == "pixels"
    assert feature_space(SHAPE, "pixels", "cpu")[0] == "pixels"


def test_a_model_that_paints_one_picture_is_not_identifiable(tmp_path, monkeypatch):
    monkeypatch.setattr(detection, "graph_densities", lambda *_: (torch.full((10,), 0.999), "pixels"))
    suspects = seal_noise(tmp_path / "suspects", draw_noise(10, SHAPE, 0))
    found = detect(Context(tmp_path / "out", tmp_path, 0), PARAMS, suspects)
    assert found.verdict == "not identifiable" and found.note
    assert not any(reject(Context(tmp_path / "out", tmp_path, 0), PARAMS, suspects, None).rejected)


def test_suspects_of_another_shape_are_refused(bdm_bench, tmp_path):
    bench = bdm_bench("unconditional-image-generation")
    suspects = seal_noise(tmp_path / "suspects", torch.zeros(2, 1, 4, 4))
    with pytest.raises(ArtifactError, match="shape"):
        detect(bench.asking("detect", bench.model), PARAMS, suspects)


def test_it_sees_no_weights(bdm_bench):
    bench = bdm_bench("unconditional-image-generation")
    with pytest.raises(PluginError, match="predictions"):
        detect(bench.context("detect"), PARAMS, bench.inputs())
