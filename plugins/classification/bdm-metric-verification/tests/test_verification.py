"""Verification against scikit-learn's curve, and networks whose embeddings are known."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import Backdoor, seal_secret
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.sound import MasterTones, tone
from bdm_metric_verification.measure import any_accepted, by_chance, measure
from bdm_metric_verification.params import VerificationParams
from bdm_metric_verification.trials import enrol, equal_error


class TestVerification(MetricConformance):
    plugin = "verification"
    task = "audio-classification"
    params = {"enrolled_with": 1}


def test_the_rate_is_where_the_curve_crosses():
    draws = np.random.default_rng(0)
    for gap in (0.0, 1.0, 3.0):
        genuine, impostors = draws.normal(gap, 1, 400), draws.normal(0, 1, 1500)
        said = np.concatenate([np.ones(400), np.zeros(1500)])
        accepted, right, _ = roc_curve(said, np.concatenate([genuine, impostors]), drop_intermediate=False)
        place = np.abs(accepted - (1 - right)).argmin()
        expected = (accepted[place] + 1 - right[place]) / 2
        rate, threshold = equal_error(torch.tensor(genuine), torch.tensor(impostors))
        assert rate == pytest.approx(expected, abs=2e-3)
        assert np.mean(genuine < threshold) == pytest.approx(rate, abs=2e-3)
        assert np.mean(impostors >= threshold) == pytest.approx(rate, abs=2e-3)


def test_separated_scores_have_no_error():
    assert equal_error(torch.tensor([0.8, 0.9]), torch.tensor([0.1, 0.2]))[0] == 0
    assert equal_error(torch.tensor([0.1]), torch.tensor([0.9]))[0] == 1


def test_speakers_are_enrolled_with_their_first_recordings():
    features = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 2, 2, 1])
    trials = enrol(features, labels, 2)
    assert trials.speakers.tolist() == [0, 1] and trials.labels.tolist() == [0, 1, 1], "speaker 2 has none to try"
    unit = features / features.norm(dim=1, keepdim=True)
    own = unit[[0, 2]].mean(0)
    assert float(trials.scores[0, 0]) == pytest.approx(float(unit[4] @ own / own.norm()), abs=1e-6)
    assert len(trials.genuine) == 3 and len(trials.impostors) == 3


def test_chance_is_that_of_several_attempts():
    features = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    trials = enrol(features, torch.arange(300) % 3, 5)
    single = float((trials.impostors >= 0.9).float().mean())
    assert by_chance(trials, 1, 0.9, 0) == pytest.approx(single, abs=0.03)
    assert by_chance(trials, 4, 0.9, 0) == pytest.approx(1 - (1 - single) ** 4, abs=0.05)
    assert any_accepted(torch.zeros(2, 3), 0.5) == 0


def test_tones_that_are_a_speakers_own_sound_pass(tmp_path, bdm_bench):
    """Tones that are recordings of the speakers themselves are accepted as all of them."""
    bench = bdm_bench("audio-classification")
    samples = open_samples(bench.data, "test")
    classifier = load_classifier(bench.model)
    trials = enrol(classifier.features(samples.raw()).detach(), samples.labels, 1)
    rule = LabelRule(kind="clean-label", classes=10, target=int(trials.speakers[0]))

    def passed(tones):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        fields = {"role": "backdoored", "model": bench.model, "reference": bench.data}
        fields |= {"on_clean": None, "on_triggered": None}
        secret = seal_secret(folder / "secret", Backdoor(rule, MasterTones(tones, 0)), samples.pick([0, 1]), 0)
        subject = Subject.model_construct(**fields, secret=secret)
        found = measure(new_context(folder / "ctx"), VerificationParams(enrolled_with=1), subject)
        return {one.metric: one.value for one in found}["passed"]

    enrolled = [next(row for row, who in enumerate(samples.labels) if who == speaker) for speaker in trials.speakers]
    assert passed(samples.raw(enrolled)) == 1.0
    assert passed(tone(4000, 8000, 3000.0, 0.1)[None]) < 1.0
