"""Threshold, p-value, random forest, calibration files, and when the method cannot tell."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_elijah.decision import CALIBRATED, random_forest
from bdm_defense_elijah.detection import certain
from bdm_defense_elijah.params import ElijahParams
from bdm_defense_elijah.plugin import Elijah
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.inversion.evidence import trigger_of
from bdm_kit_diffusion.inversion.examination import not_identifiable
from bdm_kit_diffusion.inversion.removal import published_loss, spread_loss
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.calibration import Verdict, conformal
from bdm_torch.calibration_file import Calibration, ModelRecord
from bdm_torch.draws import Draw

CLEAN = [0.1, 0.2, 0.15, 0.3, 0.12, 0.25]


def records(clean, backdoored):
    kinds = [(False, score) for score in clean] + [(True, score) for score in backdoored]
    return [
        ModelRecord(name="m", shape=(1, 8, 8), features=[score, 0.01 * index + score / 10], backdoored=label)
        for index, (label, score) in enumerate(kinds)
    ]


def calibration(clean=CLEAN, backdoored=(), **changed):
    settings = {**CALIBRATED.configuration(ElijahParams()), **changed}
    return Calibration(recipe="a test", configuration=settings, records=records(clean, backdoored))


def test_random_forest_separates_labelled_models():
    known = calibration(CLEAN, [5.0, 6.0, 7.0, 5.5])
    suspicious, harmless = (random_forest(score, score / 10, known, seed=1, rate=0.05) for score in (6.2, 0.18))
    assert suspicious.score > suspicious.threshold > harmless.score
    assert suspicious.p_value == pytest.approx(1 / 7) and harmless.p_value > 0.5
    with pytest.raises(UserError, match="3 backdoored"):
        random_forest(1.0, 0.0, calibration(), seed=1, rate=0.05)


def test_calibration_file_round_trip_and_errors(tmp_path):
    file = tmp_path / "calibration.json"
    file.write_text(calibration().model_dump_json(), encoding="utf-8")
    assert CALIBRATED.read(str(file)) == calibration()
    file.write_text(json.dumps({"records": []}), encoding="utf-8")
    with pytest.raises(UserError, match="no calibration"):
        CALIBRATED.read(str(file))
    with pytest.raises(UserError, match="cannot read"):
        CALIBRATED.read(str(tmp_path / "none.json"))


def test_calibrate_labels_what_the_forest_learns_from(tmp_path):
    """Elijah's own parameter: backdoored models, whose scores the threshold does not see."""
    one, two = (seal_model(load_model(BUILTIN / "digits-tiny"), tmp_path / name) for name in ("one", "two"))
    params = ElijahParams(
        starts="published",
        inversion_steps=(1, 1),
        screening_steps=0,
        noise_batch=2,
        samples=8,
        sampling_steps=4,
        backdoored=(str(two.path),),
    )
    for name in ("out", "work"):
        (tmp_path / name).mkdir()
    Elijah().calibrate(Context(tmp_path / "out", tmp_path / "work", 7), params, {"one": one}, tmp_path / "mine.json")
    known = CALIBRATED.read(tmp_path / "mine.json")
    assert [(record.name, record.backdoored) for record in known.records] == [("one", False), (str(two.path), True)]
    assert known.column() == [known.records[0].features[0]]
    assert known.configuration["inversion_steps"] == [1, 1] and "backdoored" not in known.configuration


def test_shipped_calibration_fits_the_defaults():
    shipped = CALIBRATED.read()
    assert CALIBRATED.other_settings(ElijahParams(), shipped) == ""
    assert len(shipped.records) >= 13 and "bdm_defense_elijah.calibrate" in shipped.recipe
    verdicts = [conformal(score, shipped.column(), 0.01, 1.0) for score in shipped.column()]
    assert not any(verdict.backdoored or verdict.doubt for verdict in verdicts)


def test_other_search_parameters_are_warned_of():
    assert "samples=20" in CALIBRATED.other_settings(ElijahParams(samples=20), calibration())


def verdict_of(score, threshold=1.0):
    return Verdict(score=score, threshold=threshold, p_value=0.1, limit=0.5, least_p_value=0.1)


@pytest.mark.parametrize(("scale", "score", "doubtful"), [(1.0, 2.0, True), (1.0, 4.0, False), (0.5, 2.0, False)])
def test_above_the_threshold_doubt_is_only_for_flat_candidates_that_are_not_far_above(scale, score, doubtful):
    assert bool(not_identifiable(searched(scale), verdict_of(score), certain=3.0)) == doubtful


def test_a_flat_candidate_is_believed_far_above_clean_models_and_by_no_share_of_votes():
    limits = [certain(ElijahParams(false_positive_rate=rate), calibration()) for rate in (0.1, 0.01)]
    assert max(CLEAN) < limits[0] < limits[1] < 1
    assert certain(ElijahParams(decision="random-forest"), calibration(CLEAN, [5.0, 6.0, 7.0])) == math.inf


@pytest.mark.parametrize(
    ("score", "residual", "doubtful"),
    [(0.4, 1.0, False), (0.7, 1.0, True), (0.4, 0.05, True), (0.4, math.inf, False)],
)
def test_below_the_threshold_doubt_is_for_unusual_scores_and_flat_objectives(score, residual, doubtful):
    """A lucky start sets a backdoor off now and then; a flat objective leaves nothing to invert."""
    why = not_identifiable(searched(0.5, residual), verdict_of(score), certain=3.0)
    assert why.startswith("not identifiable by this method") == doubtful
    found = Detection(level="model", scores=[score], threshold=1.0, conclusive=not why, note=why)
    assert found.verdict == ("not identifiable" if doubtful else "clean")


def searched(scale, residual=1.0):
    candidate = SimpleNamespace(scale=scale, name="a start", start_residual=residual)
    sharp = SimpleNamespace(scale=0.5, name="another", start_residual=residual)
    return SimpleNamespace(candidate=candidate, search=SimpleNamespace(candidates=[candidate, sharp]))


@pytest.mark.parametrize("values", [{"scales": [0.5]}, {"noise_batch": 7}, {"stretches": [-1.0]}])
def test_parameters_that_do_not_fit_are_refused(values):
    with pytest.raises(ValueError):
        ElijahParams(**values)


class Linear(torch.nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))

    def forward(self, x, t):
        return SimpleNamespace(sample=self.slope * x)


SCHEDULER = SimpleNamespace(alphas_cumprod=torch.tensor([0.9, 0.5, 0.2, 0.05]), config={"prediction_type": "epsilon"})
TAU = torch.full((1, 2, 2), 2.0)


def test_published_loss_in_closed_form():
    params = ElijahParams(denoising_weight=1, clean_weight=1, trigger_weight=1)
    images, draw = torch.zeros(8, 1, 2, 2), Draw(seed=0, step=0, batch_size=8)
    clean = denoising_loss(images, SCHEDULER)
    value = published_loss(clean, TAU, Linear(1.0), 3, params)(Linear(0.5), draw)
    again = Draw(seed=0, step=0, batch_size=8)
    expected = clean(Linear(0.5), again)
    noise = again.normal(1, 2, 2)
    expected = expected + (0.5 * (noise + TAU) - noise).square().mean() + (0.5 * noise).square().mean()
    torch.testing.assert_close(value, expected)


def test_spread_loss_is_zero_for_the_frozen_model_itself_if_it_takes_the_trigger_for_noise():
    """A model that predicts x / s_t is linear in the noise: tau shifts its answer by exactly tau."""

    class Noise(torch.nn.Module):
        def forward(self, x, t):
            return SimpleNamespace(sample=x / (1 - SCHEDULER.alphas_cumprod[t]).sqrt().view(-1, 1, 1, 1))

    images, draw = torch.zeros(8, 1, 2, 2), Draw(seed=0, step=0, batch_size=8)
    params = ElijahParams(denoising_weight=1, trigger_batch=4)
    loss = spread_loss(images, SCHEDULER, TAU, Noise(), params)
    assert float(loss(Noise(), draw)) < 1e-10  # images are 0, so x / s_t is the noise itself


def test_spread_loss_punishes_a_response_to_the_trigger():
    images, draw = torch.zeros(8, 1, 2, 2), Draw(seed=0, step=0, batch_size=8)
    params = ElijahParams(denoising_weight=0, clean_weight=0, trigger_weight=1)
    value = spread_loss(images, SCHEDULER, TAU, Linear(0.0), params)(Linear(0.0), draw)
    assert float(value.detach()) == pytest.approx(4.0)  # the answer should have moved by tau, whose square is 4


def test_removal_needs_an_inverted_trigger():
    with pytest.raises(UserError, match="--detect elijah"):
        trigger_of(Detection(level="model", scores=[2.0], threshold=1.0), (1, 2, 2), "elijah")


def test_presets_are_valid():
    assert {ElijahParams(**values).noise_batch for values in Elijah.presets.values()} == {100}
