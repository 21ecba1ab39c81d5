"""Exclusionary reclassification: counts by hand, and planted rows of which a new network says where they come from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_defense_activation_clustering.detection import detect
from bdm_defense_activation_clustering.params import ActivationClusteringParams
from bdm_defense_activation_clustering.reclassification import Reclassified, counted, reclassify
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.image_classifiers import build, normalised
from bdm_kit_classification.testing import RowDetectorConformance
from bdm_kit_classification.testing.planted import CLASSES, pictures

PARAMS = ActivationClusteringParams(epochs=12, batch_size=20)


class TestReclassification(RowDetectorConformance):
    plugin = "activation-clustering"
    params = {"epochs": 1, "batch_size": 10, "rule": "reclassification", "components": 2}

    def test_classes_that_the_new_network_takes_for_others_are_flagged(self, bench) -> None:  # type: ignore[no-untyped-def]
        """By the figures of the two extremes of T: all clusters with any row of another class, and only those with
        none of their own.
        """
        suspects = self.suspects(bench)
        labels = open_samples(suspects).labels
        for threshold in (1e-6, 1000.0):
            kept: dict[str, dict[str, dict[str, int]]] = {}
            ctx = bench.context("detect")
            object.__setattr__(ctx, "on_figures", kept.update)
            params = ActivationClusteringParams(**{**self.params, "reclassified": threshold})
            flagged = torch.tensor(detect(ctx, params, bench.model, bench.shared, suspects).scores) > 0
            assert kept["reclassified"]
            for label, counts in kept["reclassified"].items():
                wanted = counts["other"] > 0 if threshold > 1 else counts["own"] == 0 and counts["other"] > 0
                rows = int(flagged[labels == int(label)].sum())
                assert rows > 0 if wanted else rows == 0
                assert counts["source"] != int(label)


class TestReclassificationOfTexts(TestReclassification):
    task = "text-classification"


def test_rows_are_counted_by_what_is_said_of_them() -> None:
    found = counted(torch.tensor([1, 1, 3, 3, 3, 0, 1, 1]), 1, 4)
    assert found == Reclassified(own=4, other=3, source=3)
    assert not found.poisoned(1.0) and not found.poisoned(4 / 3) and found.poisoned(1.34)
    assert not counted(torch.tensor([2, 2]), 2, 3).poisoned(1000.0)
    assert counted(torch.tensor([0, 0]), 2, 3) == Reclassified(0, 2, 0)


def mislabelled() -> tuple[LabelledSamples, Tensor]:
    """Pictures of four classes, of which 20 of class 2 are labelled 0, and which these are."""
    samples = pictures(240, seed=3)
    moved = (samples.labels == 2).nonzero().flatten()[:20].tolist()
    poisoned = torch.zeros(len(samples), dtype=torch.bool)
    poisoned[moved] = True
    return samples.changed(moved, samples.raw(moved), dict.fromkeys(moved, 0)), poisoned


def flagged(samples: LabelledSamples, questioned: Tensor, folder: Path) -> tuple[Tensor, dict[int, Reclassified]]:
    ctx = Context(out=folder / "out", work=folder / "work", seed=0)
    found = reclassify(ctx, PARAMS, build(normalised(samples.stored, CLASSES, width=8), 0), samples, questioned)
    poisoned = torch.tensor([label for label, counts in found.items() if counts.poisoned(1.0)], dtype=torch.int64)
    return questioned & torch.isin(samples.labels, poisoned), found


def f1(flags: Tensor, poisoned: Tensor) -> float:
    return 2 * float((flags & poisoned).sum()) / float(flags.sum() + poisoned.sum())


def test_poisoned_clusters_are_told_from_clean_ones(tmp_path: Path) -> None:
    """In question are all poisoned rows, and ten clean ones of each other class."""
    samples, poisoned = mislabelled()
    questioned = poisoned.clone()
    for label in (1, 2, 3):
        questioned[(samples.labels == label).nonzero().flatten()[:10]] = True
    flags, found = flagged(samples, questioned, tmp_path)
    assert set(found) == {0, 1, 2, 3} and found[0].source == 2
    assert f1(flags, poisoned) > 0.9
    shuffled = poisoned[torch.randperm(len(samples), generator=torch.Generator().manual_seed(1))]
    assert f1(flags, shuffled) < 0.25, "shuffled flags give no more than the base rate, .08"


def test_rows_drawn_at_random_are_taken_for_clean(tmp_path: Path) -> None:
    samples, poisoned = mislabelled()
    shuffled = poisoned[torch.randperm(len(samples), generator=torch.Generator().manual_seed(1))]
    assert not bool(flagged(samples, shuffled, tmp_path)[0].any())


def test_without_clusters_nothing_is_trained(tmp_path: Path) -> None:
    samples, poisoned = mislabelled()
    assert flagged(samples, torch.zeros_like(poisoned), tmp_path)[1] == {} and not (tmp_path / "work").exists()
