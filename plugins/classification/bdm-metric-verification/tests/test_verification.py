"""Verification against scikit-learn's curve, networks whose embeddings are known, and folders of further speakers."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from bdm_core.errors import UserError
from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.opening import open_rows
from bdm_kit_classification.data.samples import open_samples, seal_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import Backdoor, seal_secret
from bdm_kit_classification.sounds.batch import Sounds
from bdm_kit_classification.sounds.files import write_wav
from bdm_kit_classification.stages import tiny_secret
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.sound import MasterTones, tone
from bdm_metric_verification.measure import any_accepted, by_chance, measure
from bdm_metric_verification.params import VerificationParams
from bdm_metric_verification.trials import enrol, equal_error


class TestVerification(MetricConformance):
    plugin = "verification"
    task = "audio-classification"
    params = {"enrolled_with": 1}


class TestVerificationOfOthers(MetricConformance):
    plugin = "verification"
    task = "audio-classification"
    params = {"enrolled_with": 1, "others": "tiny-audio"}


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


def voices(folder, recordings, rate=8000, samples=4000):
    """A folder of harmonic sounds: speaker by speaker as many recordings as asked for, each speaker's of its pitch."""
    draws = np.random.default_rng(0)
    for who, count in enumerate(recordings):
        (folder / f"id{who}").mkdir(parents=True)
        for take in range(count):
            clock, pitch = np.arange(samples) / rate, 110 * 1.5**who * draws.uniform(0.99, 1.01)
            sound = sum(np.sin(2 * np.pi * k * pitch * clock + draws.uniform(0, 6)) / k for k in range(1, 6))
            write_wav(folder / f"id{who}" / f"{take}.wav", np.rint(4000 * sound).astype(np.int16), rate)
    return str(folder)


def subject_of(bench, folder, trigger=None):
    """The bench's model with a trigger, or with the kit's own of one target."""
    samples = open_samples(bench.data, "test")
    rule = LabelRule(kind="clean-label", classes=10, target=0)
    if trigger is None:
        secret = tiny_secret(folder, bench.model)
    else:
        secret = seal_secret(folder, Backdoor(rule, trigger), samples.pick([0, 1]), 0)
    fields = {"role": "backdoored", "model": bench.model, "reference": bench.data, "secret": secret}
    return Subject.model_construct(**fields, on_clean=None, on_triggered=None)


def test_further_speakers_are_verified_from_a_folder(tmp_path, bdm_bench, caplog):
    """At another rate and of another length than the model takes; against enrolment of what the network says itself."""
    bench = bdm_bench("audio-classification")
    folder = voices(tmp_path / "voices", [6, 6, 3, 6], rate=16_000, samples=9000)
    tones = torch.stack([tone(4000, 8000, 900.0, 0.2), tone(4000, 8000, 2500.0, 0.2)])
    subject = subject_of(bench, tmp_path / "secret", MasterTones(tones, 0))
    with caplog.at_level(logging.WARNING, "bdm"):
        found = measure(new_context(tmp_path / "ctx"), VerificationParams(enrolled_with=3, others=folder), subject)
    values = {one.metric: one.value for one in found}
    counts = {one.metric: one.n for one in found}
    assert list(values)[3:] == ["eer_others", "passed_others", "passed_without_trigger_others"]
    assert counts["eer_others"] == 9 and counts["passed_others"] == 3
    assert "1 of 4 speakers have too few recordings" in caplog.text
    alone = measure(new_context(tmp_path / "alone"), VerificationParams(enrolled_with=3), subject)
    assert [one.value for one in alone] == list(values.values())[:3]
    samples = open_rows(folder, bench.model, tmp_path / "cache")
    assert samples.stored.values.shape == (21, 4000) and samples.stored.rate == 8000
    classifier = load_classifier(bench.model)
    with torch.no_grad():
        trials = enrol(classifier.features(samples.raw()), samples.labels, 3)
        seen = torch.nn.functional.normalize(classifier.features(tones), dim=1)
    rate, threshold = equal_error(trials.genuine, trials.impostors)
    assert values["eer_others"] == pytest.approx(rate, abs=1e-6)
    assert values["passed_others"] == pytest.approx(any_accepted(seen @ trials.models.T, threshold))


def test_an_attack_with_one_target_passes_as_nobody_else(tmp_path, bdm_bench):
    bench = bdm_bench("audio-classification")
    params = VerificationParams(enrolled_with=1, others=voices(tmp_path / "voices", [4, 4]))
    found = measure(new_context(tmp_path / "ctx"), params, subject_of(bench, tmp_path / "secret"))
    values = {one.metric: one.value for one in found}
    assert values["eer_others"] is not None and values["passed_others"] is None


@pytest.mark.parametrize(
    ("recordings", "enrolled", "said"),
    [
        ([6], 5, "has 1 sub-folders: expected two or more"),
        ([6, 2], 1, "the class 'id1' has 2 samples: too few"),
        ([6, 5], 5, "has 1 speakers with more than 5 recordings, verification needs two"),
        (None, 5, "no data 'further-speaker': did you mean 'further-speakers'"),
        ("slow", 5, "has a rate of 4000, the model one of 8000"),
        ("short", 5, r"has the shape \[800\], the model takes \[4000\]"),
    ],
)
def test_what_cannot_be_verified_is_refused_in_one_line(recordings, enrolled, said, tmp_path, bdm_bench):
    bench = bdm_bench("audio-classification")
    if recordings is None:
        others = "further-speaker"
    elif isinstance(recordings, str):
        rate, samples = (4000, 4000) if recordings == "slow" else (8000, 800)
        rows = open_samples(bench.data)
        stored = Sounds(rows.stored.values[:, :samples], rate)
        others = str(seal_samples(tmp_path / "sealed", replace(rows, stored=stored)).path)
    else:
        others = voices(tmp_path / "voices", recordings)
    subject = subject_of(bench, tmp_path / "secret")
    with pytest.raises(UserError, match=said) as caught:
        measure(new_context(tmp_path / "ctx"), VerificationParams(enrolled_with=enrolled, others=others), subject)
    assert "\n" not in str(caught.value)
