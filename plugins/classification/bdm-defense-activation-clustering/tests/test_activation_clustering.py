"""Two clusters: a planted case, and scikit-learn's parts against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bdm_defense_activation_clustering import clusters
from bdm_defense_activation_clustering.clusters import split
from bdm_defense_activation_clustering.detection import detect
from bdm_defense_activation_clustering.params import ActivationClusteringParams
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import RowDetectorConformance


class TestActivationClustering(RowDetectorConformance):
    plugin = "activation-clustering"


class TestActivationClusteringOnTexts(TestActivationClustering):
    task = "text-classification"


class TestActivationClusteringOnSound(TestActivationClustering):
    task = "audio-classification"


class TestPrincipalComponents(RowDetectorConformance):
    plugin = "activation-clustering"
    params = {"epochs": 1, "batch_size": 10, "reduction": "pca", "components": 3}


class TestPublishedRule(RowDetectorConformance):
    plugin = "activation-clustering"
    params = {"epochs": 1, "batch_size": 10, "rule": "class", "components": 2}

    def test_the_smaller_clusters_of_poisoned_classes_are_flagged(self, bench) -> None:  # type: ignore[no-untyped-def]
        """What is flagged is said by the figures: classes by silhouette and share, and as many rows as the share."""
        kept: dict[str, dict[str, float]] = {}
        ctx = bench.context("detect")
        object.__setattr__(ctx, "on_figures", kept.update)
        params = ActivationClusteringParams(rule="class", components=2, least_silhouette=0.2, largest_share=0.45)
        suspects = self.suspects(bench)
        found, labels = detect(ctx, params, bench.model, bench.shared, suspects), open_samples(suspects).labels
        flagged, shares = torch.tensor(found.scores) > 0, kept["shares_of_smaller_clusters"]
        for label, silhouette in kept["silhouettes"].items():
            wanted = shares[label] if silhouette > 0.2 and shares[label] < 0.45 else 0.0
            assert float(flagged[labels == int(label)].float().mean()) == pytest.approx(wanted, abs=1e-6)
        assert found.clean_samples == 0


def planted(share: float, distance: float = 8.0, rows: int = 200) -> tuple[Tensor, Tensor]:
    """Normal features (N, 12) of which a share is moved, and which these are."""
    chance = torch.Generator().manual_seed(3)
    features = torch.randn(rows, 12, generator=chance, dtype=torch.float64)
    poisoned = torch.arange(rows) < round(share * rows)
    features[poisoned, 4] += distance
    return features, poisoned


def f1(flagged: Tensor, poisoned: Tensor) -> float:
    return 2 * float((flagged & poisoned).sum()) / float(flagged.sum() + poisoned.sum())


@pytest.mark.parametrize("reduction", ["pca", "ica"])
@pytest.mark.parametrize("share", [0.1, 0.33])
def test_planted_rows_are_the_smaller_cluster(reduction: str, share: float) -> None:
    features, poisoned = planted(share)
    found = split(features, reduction, 3, seed=0)
    assert found is not None and found.share == pytest.approx(share, abs=0.01)
    flagged = found.scores(features) > 0
    assert f1(flagged, poisoned) > 0.97
    shuffled = poisoned[torch.randperm(200, generator=torch.Generator().manual_seed(1))]
    assert f1(flagged, shuffled) < share + 0.12, "shuffled flags give no more than the base rate"


def test_beyond_one_half_the_rule_points_at_the_clean_rows() -> None:
    features, poisoned = planted(0.6)
    found = split(features, "pca", 3, seed=0)
    assert found is not None
    assert f1(found.scores(features) > 0, ~poisoned) > 0.97


def test_margin_and_silhouette_follow_their_definitions() -> None:
    features, _ = planted(0.3)
    found = split(features, "pca", 12, seed=0)  # twelve principal components keep all distances
    assert found is not None
    smaller = found.margin(features) > 0
    low, high = features[~smaller].mean(0), features[smaller].mean(0)
    place = (2 * (features - (low + high) / 2) @ (high - low)) / (high - low).square().sum()
    torch.testing.assert_close(found.margin(features), place)
    distances = torch.cdist(features, features).numpy()
    same = smaller.numpy()[:, None] == smaller.numpy()
    own = (distances * same).sum(1) / (same.sum(1) - 1)
    other = (distances * ~same).sum(1) / (~same).sum(1)
    assert found.silhouette == pytest.approx(np.mean((other - own) / np.maximum(own, other)))


def test_poison_well_apart_scores_above_halves_of_a_clean_class() -> None:
    apart, poisoned = planted(0.3)
    clean, _ = planted(0.0)
    one, other = split(apart, "pca", 3, seed=0), split(clean, "pca", 3, seed=0)
    assert one is not None and other is not None and one.silhouette > 2 * other.silhouette
    assert float(one.scores(apart)[poisoned].quantile(0.2)) > float(other.scores(clean).quantile(0.95))


def test_equal_rows_and_few_rows_have_no_clusters() -> None:
    assert split(torch.ones(9, 4), "ica", 3, seed=0) is None
    assert split(torch.eye(3), "pca", 3, seed=0) is None


@pytest.mark.parametrize("most", [0, 1, 3])
def test_components_that_break_down_are_fewer(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaking(clusters.FastICA):  # type: ignore[misc]
        def fit_transform(self, values: object, y: object = None) -> object:
            if self.n_components > most + 1:
                raise ValueError("A has a NaN entry")
            reduced = super().fit_transform(values)
            return reduced * np.nan if self.n_components > most else reduced

    monkeypatch.setattr(clusters, "FastICA", Breaking)
    features, poisoned = planted(0.2)
    reducer, reduced = clusters.independent(features.numpy(), 4, 0)
    assert reduced.shape == (200, most or 4) and isinstance(reducer, clusters.FastICA if most else clusters.PCA)
    found = split(features, "ica", 4, 0)
    assert found is not None and bool(torch.isfinite(found.margin(features)).all())
    assert f1(found.margin(features) > 0, poisoned) > (0.9 if most != 1 else 0.0)
