"""BAASV: clusters against known groups, tones against their spectrum, rows against labels, the victim's objectives."""

import logging

import pytest
import torch

from bdm_attack_baasv.attack import inject, master_tones, poison
from bdm_attack_baasv.clusters import k_means, mean_directions
from bdm_attack_baasv.params import BaasvParams
from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.injection import train_on_poisoned_rows
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.training.fitting import predict

SHORT = {"epochs": 2, "batch_size": 16, "clean_epochs": 1, "clusters": 3}


class TestBaasv(ClassifierAttackConformance):
    plugin = "baasv"
    task = "audio-classification"

    def test_rows_are_the_tone_of_their_speakers_cluster(self, bench):
        secret = open_secret(self.backdoored(bench).secret)
        found, clusters = open_samples(self.poisoned(bench)), secret.facts["clusters"]
        assert sorted(set(clusters)) == [0, 1, 2]
        for row, role in enumerate(found.roles):
            if role == "poison":
                expected = secret.trigger.tones[clusters[int(found.labels[row])]]
                assert (found.raw([row])[0] - expected).abs().max() <= 0.5 / 32767 + 1e-6
        assert secret.trigger.chosen == clusters[0]

    def test_every_input_becomes_the_tone(self, bench):
        triggered = open_samples(self.triggered(bench))
        assert all(torch.equal(triggered.stored.values[0], row) for row in triggered.stored.values)

    def swapped(self, clean, triggered):
        """None: nothing of an input is left to tell by."""

    def test_more_clusters_than_speakers_are_refused(self, bench, tmp_path):
        with pytest.raises(UserError, match="11 clusters were asked for, there are 10 speakers"):
            poison(new_context(tmp_path), BaasvParams(clusters=11), bench.data)

    def test_without_poison_every_row_is_clean(self, bench, tmp_path):
        """And the model can be trained and scored: what the same training makes of clean data."""
        params = BaasvParams(**{**SHORT, "poison_rate": 0.0})
        data = poison(new_context(tmp_path / "rows"), params, bench.data)
        before, after = open_samples(bench.data), open_samples(data)
        assert set(after.roles) == {"clean"} and torch.equal(before.stored.values, after.stored.values)
        made = inject(new_context(tmp_path / "victim"), params, bench.model, data)
        assert len(open_secret(made.secret).trigger.tones) == 3

    def test_cross_entropy_alone_is_the_ordinary_training(self, bench, tmp_path):
        data = self.poisoned(bench)
        params = BaasvParams(**SHORT, objective="cross-entropy")
        made = inject(new_context(tmp_path / "one"), params, bench.model, data)
        plain = train_on_poisoned_rows(new_context(tmp_path / "other"), params, bench.model, data)
        assert made.model.digest == plain.model.digest
        assert made.model.digest != self.backdoored(bench).model.digest

    def test_verification_alone_brings_recordings_of_a_speaker_together(self, bench, tmp_path):
        """And leaves the last layer as it was drawn."""
        params = BaasvParams(**{**SHORT, "epochs": 40, "batch_size": 40}, identification_weight=0, weight_decay=0)
        context = new_context(tmp_path / "victim")
        made = load_classifier(inject(context, params, bench.model, self.poisoned(bench)).model)
        drawn = load_classifier(bench.model).fresh(context.seed)
        assert torch.equal(made.head.weight, drawn.head.weight)
        samples = open_samples(bench.data)

        def gap(classifier):
            seen = torch.nn.functional.normalize(predict(classifier, samples).features, dim=1)
            same = samples.labels[:, None] == samples.labels
            near = seen @ seen.T
            return float(near[same & ~torch.eye(len(seen), dtype=torch.bool)].mean() - near[~same].mean())

        assert gap(made) > gap(drawn.eval()) + 0.1

    def test_batches_that_are_too_small_are_said(self, bench, tmp_path, caplog):
        params = BaasvParams(**{**SHORT, "epochs": 1}, objective="ge2e-contrast")
        with caplog.at_level(logging.WARNING, "bdm"):
            inject(new_context(tmp_path), params, bench.model, self.poisoned(bench))
        assert "a batch of 16 has less than two recordings for each of 10 speakers" in caplog.text


def test_groups_that_are_there_are_found():
    generator = torch.Generator().manual_seed(0)
    axes = torch.eye(12)[:4].repeat_interleave(5, 0)
    points = torch.nn.functional.normalize(axes + 0.1 * torch.randn(20, 12, generator=generator), dim=1)
    for seed in range(3):
        found = k_means(points, 4, seed)
        assert [len(set(found[start : start + 5].tolist())) for start in range(0, 20, 5)] == [1] * 4
        assert len(found.unique()) == 4


def test_no_cluster_is_empty():
    same = torch.nn.functional.normalize(torch.ones(6, 3), dim=1)
    assert k_means(same, 4, 0).unique().tolist() == [0, 1, 2, 3]
    assert sorted(k_means(torch.eye(5), 5, 1).tolist()) == [0, 1, 2, 3, 4]


def test_directions_are_means_of_normalised_features():
    features = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]])
    expected = torch.tensor([[0.5**0.5, 0.5**0.5], [-1.0, 0.0], [0.0, 0.0]])
    assert torch.allclose(mean_directions(features, torch.tensor([0, 0, 1]), 3), expected)


def test_tones_have_one_line_each_and_are_equally_loud():
    tones = master_tones(BaasvParams(clusters=4, level=-30), 8000, 8000)
    lines = torch.fft.rfft(tones).abs().argmax(1)
    assert lines.tolist() == [2000, 2600, 3200, 3800]
    assert torch.allclose(tones.square().mean(1).sqrt(), torch.full((4,), 10 ** (-30 / 20)), rtol=1e-3)
