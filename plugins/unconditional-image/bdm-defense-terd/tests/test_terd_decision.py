"""TERD's verdict on models, and its removal."""

import json
import shlex
from types import SimpleNamespace

import diffusers
import pytest
import torch
from scipy.stats import kstest

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_terd import detection
from bdm_defense_terd.decision import CALIBRATED, decide
from bdm_defense_terd.params import TerdParams
from bdm_defense_terd.plugin import Terd
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.inversion.estimate_evidence import not_identifiable
from bdm_kit_diffusion.inversion.pair_search import Candidate, search
from bdm_kit_diffusion.inversion.removal import spread_loss
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_torch.calibration import conformal_of_several
from bdm_torch.calibration_file import Calibration, ModelRecord
from bdm_torch.draws import Draw

CLEAN = [(0.10, 0.020), (0.12, 0.018), (0.09, 0.022), (0.11, 0.019), (0.13, 0.024)]


def calibration(params=None):
    records = [ModelRecord(name="c", shape=(1, 8, 8), features=list(features)) for features in CLEAN]
    return Calibration(recipe="a test", configuration=CALIBRATED.configuration(params or TerdParams()), records=records)


def test_either_feature_can_decide():
    typical = decide((0.11, 0.020), calibration(), 0.01)
    assert not typical.unusual and typical.p_value > 0.4
    for features in ((0.5, 0.020), (0.11, 0.2)):
        verdict = decide(features, calibration(), 0.01)
        assert verdict.backdoored and verdict.p_value == verdict.least_p_value == pytest.approx(1 / 6)
    assert decide((0.0, 0.0), calibration(), 0.01).p_value == 1.0


def test_normal_features_keep_the_stated_rate():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(600, 25, 2, generator=generator).tolist()
    verdicts = [conformal_of_several(row[0], row[1:], 0.05) for row in draws]
    assert 0.02 < sum(verdict.backdoored for verdict in verdicts) / len(verdicts) < 0.06
    values = [verdict.p_value for verdict in verdicts]
    assert kstest(values, "uniform", alternative="greater").pvalue > 0.01


def test_shipped_calibration_finds_its_own_models_clean():
    known = CALIBRATED.read()
    assert len(known.records) >= 13 and "bdm_defense_terd.calibrate" in known.recipe
    assert CALIBRATED.other_settings(TerdParams(), known) == ""
    verdicts = [decide((mean, variance), known, 0.01) for mean, variance in known.clean()]
    assert not any(verdict.backdoored or verdict.doubt for verdict in verdicts)


def test_other_parameters_and_bad_files_are_told(tmp_path):
    assert "pairs=7" in CALIBRATED.other_settings(TerdParams(pairs=7), calibration())
    bad = tmp_path / "bad.json"
    bad.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="no calibration of terd"):
        CALIBRATED.read(bad)
    with pytest.raises(UserError, match="cannot read"):
        CALIBRATED.read(tmp_path / "none.json")


def test_calibrate_writes_what_detect_reads(tmp_path):
    models = {}
    for seed in range(3):
        model = load_model(BUILTIN / "digits-tiny")
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in model.unet.parameters():
                parameter += 0.01 * torch.randn_like(parameter)
        models[f"model-{seed}"] = seal_model(model, tmp_path / f"model-{seed}")
    params = TerdParams(
        estimation_steps=2, refinement_steps=1, chain=2, evaluation_pairs=8, starts=("-U(0,1)",), learning_rate=0.1
    )
    for name in ("out", "work"):
        (tmp_path / name).mkdir()
    Terd().calibrate(Context(tmp_path / "out", tmp_path / "work", 1000), params, models, tmp_path / "mine.json")
    known = CALIBRATED.read(tmp_path / "mine.json")
    assert [record.name for record in known.records] == ["model-0", "model-1", "model-2"]
    assert known.configuration["estimation_steps"] == 2 and "learning_rate" not in known.configuration
    model = load_model(tmp_path / "model-1")
    assert known.clean()[1] == pytest.approx(search(model, params, 1001).chosen.features)


def test_a_planted_backdoor_is_none_by_clean_models_examined_with_other_settings(tmp_path, monkeypatch, bdm_context):
    """Its features are far above those of all clean models, which says nothing if these had another search."""
    monkeypatch.setattr(detection, "not_identifiable", lambda chosen: "")
    model = seal_model(load_model(BUILTIN / "digits-tiny"), tmp_path / "model")
    path = tmp_path / "mine.json"
    few = {"estimation_steps": 1, "refinement_steps": 1, "chain": 2, "evaluation_pairs": 8, "samples": 8}
    params = TerdParams(starts=("-U(0,1)",), calibration=str(path), **few)
    low = [ModelRecord(name=str(n), shape=(1, 8, 8), features=[-9 - n / 10, -9 - n / 10]) for n in range(5)]
    for made_with in (params, TerdParams()):
        known = Calibration(recipe="a test", configuration=CALIBRATED.configuration(made_with), records=low)
        path.write_text(known.model_dump_json(), encoding="utf-8")
        found = detection.detect(bdm_context(seed=made_with is params), params, model)
        assert found.scores[0] > found.threshold
        assert found.verdict == ("backdoored" if made_with is params else "not identifiable")
    assert "(starts, estimation_steps, refinement_steps, chain, evaluation_pairs)" in found.note
    assert found.p_value is None and "--set 'defense:terd.starts=[" in found.note and "terd.chain=2 " in found.note
    given = found.note.split("`")[1].split(" --model")[0].split(" --set ")[1:]
    values = [shlex.split(item)[0].removeprefix("defense:terd.").partition("=") for item in given]
    assert (
        TerdParams(**{name: json.loads(value) for name, _, value in values}, samples=8, calibration=str(path)) == params
    )


@pytest.mark.parametrize(("gain", "end", "informative"), [(9.0, 1.6, True), (9.0, 0.8, False), (1.0, 3.0, False)])
def test_an_estimate_that_is_mostly_its_start_is_no_information(gain, end, informative):
    start = torch.full((1, 2, 2), -1.0)
    candidate = Candidate("a start", start, end * start, torch.ones(1, 2, 2), 0.1, 0.2, 0.1, gain)
    assert candidate.moved == pytest.approx(abs(end - 1))
    assert candidate.informative == informative


def test_no_gain_over_the_start_is_no_verdict():
    doubt = not_identifiable(SimpleNamespace(informative=False, name="-U(0,1)", gain=0.4, moved=0.2))
    assert "not identifiable" in doubt and "-U(0,1)" in doubt
    assert not_identifiable(SimpleNamespace(informative=True)) == ""


def test_removal_scales_the_noise_of_triggered_samples_by_gamma():
    """A model that predicts x / s_t is what the removal wants, with any deviation; another scale is punished."""
    scheduler = diffusers.DDPMScheduler(4, clip_sample=False)
    seen = []

    class Noise(torch.nn.Module):
        def forward(self, x, t):
            seen.append(x)
            return SimpleNamespace(sample=x / (1 - scheduler.alphas_cumprod[t]).sqrt().view(-1, 1, 1, 1))

    images, tau, gamma = torch.zeros(8, 1, 2, 2), torch.full((1, 2, 2), 2.0), torch.full((1, 2, 2), 0.25)
    params = TerdParams(denoising_weight=1, trigger_batch=4)
    inputs = []
    for scale in (None, gamma):
        seen.clear()
        draw = Draw(seed=0, step=0, batch_size=8)
        assert float(spread_loss(images, scheduler, tau, Noise(), params, scale)(Noise(), draw)) < 1e-10
        inputs.append(seen[0])
    torch.testing.assert_close(inputs[1][8:], 0.25 * inputs[0][8:])
    torch.testing.assert_close(inputs[1][:8], inputs[0][:8])


def test_calibration_is_json_of_clean_models_alone():
    text = json.dumps(CALIBRATED.read().model_dump(mode="json"))
    assert '"backdoored": true' not in text
