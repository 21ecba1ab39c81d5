"""UFID on networks whose generations are known, and as a plugin."""

import math

import diffusers
import pytest
import torch

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_core.testing import DefenseConformance
from bdm_defense_ufid import detection
from bdm_defense_ufid.detection import clean_threshold, detect, graph_densities, standardised
from bdm_defense_ufid.graph import densities, embedding, perturbed
from bdm_defense_ufid.params import UfidParams
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, open_reference
from bdm_kit_diffusion.noise.initial_noise import seal_noise

SHAPE = (1, 8, 8)
TRIGGER = torch.where(torch.arange(64).view(SHAPE) % 8 > 4, 1.0, -1.0)
TARGET = torch.where(torch.arange(64).view(SHAPE) // 8 == 3, 1.0, -1.0)
FAST = {"perturbations": 2, "clean_queries": 10, "samplers": ["ddim"], "steps": 2}


class TestUfid(DefenseConformance):
    plugin = "ufid"
    params = FAST


class TestUfidOnPixels(DefenseConformance):
    plugin = "ufid"
    params = {**FAST, "features": "pixels", "samplers": ["ddpm"], "steps": 3}


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


PARAMS = UfidParams(samplers=("ddim",), steps=5, features="pixels", clean_queries=40)


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
    above = [float(draws.sample()) > clean_threshold(draws.sample((64,)), 0.05) for _ in range(4000)]
    assert sum(above) / len(above) == pytest.approx(3 / 65, abs=0.012)
    assert clean_threshold(torch.arange(5.0), 0.01) == 4.0


def test_score_is_the_most_suspicious_sampler():
    clean = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    table = torch.tensor([[0.9, 0.2], [0.5, 0.9]])
    expected = torch.tensor([7.0, 4.0])
    torch.testing.assert_close(standardised(table, clean), expected)


def test_triggered_queries_of_an_oracle_are_separated_and_clean_models_are_not_flagged(tmp_path):
    ctx = Context(tmp_path, tmp_path, 0)
    noise = draw_noise(60, SHAPE, 9)
    for target, separated in ((TARGET, True), (None, False)):
        model = model_of(target)
        clean, _ = graph_densities(ctx, PARAMS, model, draw_noise(40, SHAPE, 5), 1)
        table, _ = graph_densities(ctx, PARAMS, model, torch.cat([noise, noise + TRIGGER]), 2)
        scores = standardised(table, clean)
        flagged = scores > clean_threshold(standardised(clean, clean), 0.05)
        assert float(flagged[:60].double().mean()) < 0.2
        if separated:
            assert float(flagged[60:].double().mean()) > 0.9


def test_density_does_not_depend_on_the_place_of_a_query(tmp_path):
    ctx, queries = Context(tmp_path, tmp_path, 0), draw_noise(6, SHAPE, 3)
    params = PARAMS.model_copy(update={"samplers": ("ddpm",)})
    order = [4, 2, 0, 5, 1, 3]
    one, _ = graph_densities(ctx, params, model_of(), queries, 2)
    other, evaluations = graph_densities(ctx, params, model_of(), queries[order], 2)
    torch.testing.assert_close(one[:, order], other)
    assert evaluations == 6 * 5 * 5


def test_the_classifier_is_used_where_there_is_one():
    name, embed = embedding(SHAPE, "auto", "cpu")
    assert name == "digits-classifier" and embed(torch.zeros(2, *SHAPE)).shape == (2, 48)
    assert embedding((3, 12, 12), "auto", "cpu")[0] == "pixels"
    assert embedding(SHAPE, "pixels", "cpu")[0] == "pixels"


def test_a_model_that_paints_one_picture_is_not_identifiable(tmp_path, monkeypatch):
    model = open_reference("digits-tiny", tmp_path / "model", tmp_path)
    monkeypatch.setattr(detection, "graph_densities", lambda *_: (torch.full((1, 10), 0.999), 0))
    suspects = seal_noise(tmp_path / "suspects", draw_noise(10, SHAPE, 0))
    found = detect(Context(tmp_path / "out", tmp_path, 0), PARAMS, model, suspects)
    assert found.verdict == "not identifiable" and found.note


def test_suspects_of_another_shape_are_refused(tmp_path):
    model: Model = open_reference("digits-tiny", tmp_path / "model", tmp_path)
    suspects = seal_noise(tmp_path / "suspects", torch.zeros(2, 1, 4, 4))
    with pytest.raises(ArtifactError, match="shape"):
        detect(Context(tmp_path / "out", tmp_path, 0), PARAMS, model, suspects)
