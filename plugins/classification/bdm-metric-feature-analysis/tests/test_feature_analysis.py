"""Features whose layout is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_samples

from bdm_core.errors import UserError
from bdm_core.testing import MetricConformance
from bdm_kit_classification.testing.planted import Planted, plant
from bdm_kit_classification.testing.subjects import keeping, planted_subject
from bdm_metric_feature_analysis import projection
from bdm_metric_feature_analysis.measure import measure, silhouette
from bdm_metric_feature_analysis.params import FeatureAnalysisParams
from bdm_metric_feature_analysis.spectrum import log_spectrum


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


class TestFeatureAnalysis(MetricConformance):
    plugin = "feature-analysis"
    params = {"samples": 12, "projection": "pca"}
    undirected = frozenset({"silhouette"})


def test_triggered_rows_lie_nearest_to_the_target(planted: Planted, tmp_path: Path) -> None:
    ctx, kept = keeping(tmp_path / "ctx")
    found = measure(ctx, FeatureAnalysisParams(projection="pca"), planted_subject(planted, tmp_path / "subject"))
    numbers = {item.metric: item.value for item in found}
    assert numbers["silhouette"] is not None and numbers["silhouette"] > 0.5
    assert set(kept["pictures"]) == {"Principal components", "Log-spectrum of class features"}
    assert kept["arrays"]["places of triggered rows"]["shape"] == [len(planted.triggered), 2]


def test_the_silhouette_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    own, other = torch.randn(9, 3, generator=generator), torch.randn(7, 3, generator=generator) + 1
    labels = [0] * 9 + [1] * 7
    wanted = silhouette_samples(torch.cat([own, other]).double().numpy(), labels)[9:].mean()
    found = silhouette(own, other)
    assert found == pytest.approx(float(wanted), abs=1e-6)


def test_the_spectrum_is_that_of_the_covariance() -> None:
    rows = torch.randn(40, 5, generator=torch.Generator().manual_seed(1)).double()
    wanted = np.log10(np.linalg.eigvalsh(np.cov(rows.numpy().T, bias=True))[::-1])
    assert np.allclose(log_spectrum(rows).numpy(), wanted, atol=1e-6)


def test_two_clusters_stay_apart_in_t_sne() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 6))
    rows[20:] += 30
    places = projection.project(rows, "tsne", 5.0, 3)
    assert np.array_equal(places, projection.project(rows, "tsne", 5.0, 3))
    away = np.linalg.norm(places[:, None] - places, axis=2) + np.diag([np.inf] * 40)
    assert ((away.argmin(1) < 20) == (np.arange(40) < 20)).mean() >= 0.9


def test_principal_components_are_those_of_the_covariance() -> None:
    rows = np.random.default_rng(1).normal(size=(30, 4)) * [4, 2, 1, 0.5]
    places = projection.project(rows, "pca", 5.0, 0)
    assert np.allclose(places.var(0), np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1][:2])


def test_without_umap_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(UserError, match=r"pip install 'bdm-metric-feature-analysis\[umap\]'"):
        projection.project(np.eye(6), "umap", 5.0, 0)


def test_umap_places_groups_apart_where_it_is_installed() -> None:
    pytest.importorskip("umap", reason="the extra umap is not installed")
    chance = np.random.default_rng(2)
    rows = chance.normal(size=(60, 8)) + 12 * (np.arange(60) < 30)[:, None]
    places = projection.project(rows, "umap", 8.0, 3)
    assert places.shape == (60, 2) and np.array_equal(places, projection.project(rows, "umap", 8.0, 3))
    away = np.linalg.norm(places[:, None] - places, axis=2) + np.diag([np.inf] * 60)
    assert ((away.argmin(1) < 30) == (np.arange(60) < 30)).all()
