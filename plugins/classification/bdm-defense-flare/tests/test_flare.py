"""Extremes against a definition by hand, distances against SciPy, and planted clusters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from scipy.stats import norm

from bdm_core.errors import UserError
from bdm_defense_flare.detection import detect
from bdm_defense_flare.extremes import dense_cluster, distances, extremes
from bdm_defense_flare.params import FlareParams
from bdm_defense_flare.separation import standardised
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import RowDetectorConformance


class TestFlare(RowDetectorConformance):
    plugin = "flare"

    def test_no_normalisation_is_refused(self, bench) -> None:  # type: ignore[no-untyped-def]
        params = FlareParams(last_layers_left_out=4)
        with pytest.raises(UserError, match="has 4, of which last_layers_left_out=4 are left out"):
            detect(bench.context("detect"), params, bench.model, bench.shared, self.suspects(bench))


class TestClusters(RowDetectorConformance):
    plugin = "flare"
    params = {
        "epochs": 1,
        "batch_size": 10,
        "rule": "cluster",
        "smallest_cluster": 5,
        "neighbours": 2,
        "numbers": "likelihoods",
    }


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_extremes_are_largest_standardised_squares() -> None:
    classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    norms = list(classifier.norms().values())
    norms[0].running_mean += 0.5
    norms[0].running_var *= 4
    pictures = torch.randint(0, 256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    samples = LabelledSamples(pictures, torch.zeros(5, dtype=torch.int64), ["a", "b"], "image-classification")
    with torch.no_grad():
        made = classifier.prunable_layers()[0].layer(classifier.prepare(samples.raw()))
    squares = (made - 0.5).square() / (4 + norms[0].eps)
    found = extremes(classifier, samples, norms)
    assert found.shape == (5, 4)
    torch.testing.assert_close(found[:, 0], squares.flatten(1).amax(1).double().log(), rtol=1e-5, atol=1e-5)


def test_likelihoods_are_the_least_of_scipy_s_normal_distributions() -> None:
    classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    norms = list(classifier.norms().values())
    channels = torch.arange(norms[0].num_features)
    norms[0].running_mean += 0.1 * channels
    norms[0].running_var *= 1 + channels  # otherwise the deviation would not matter
    pictures = torch.randint(0, 256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    samples = LabelledSamples(pictures, torch.zeros(5, dtype=torch.int64), ["a", "b"], "image-classification")
    with torch.no_grad():
        made = classifier.prunable_layers()[0].layer(classifier.prepare(samples.raw())).double().numpy()
    mean, deviation = (np.asarray(values)[:, None, None] for values in (0.1 * channels, np.sqrt(1 + channels + 1e-5)))
    expected = norm.logpdf(made, mean, deviation).reshape(5, -1).min(1)
    found = extremes(classifier, samples, norms, likelihoods=True)
    np.testing.assert_allclose(found[:, 0].numpy(), expected, rtol=1e-5)


def test_distances_are_mahalanobis_s() -> None:
    clean, vectors = normal(300, 3, seed=1) @ normal(3, 3, seed=2), normal(4, 3)
    covariance = np.cov(clean.numpy(), rowvar=False, bias=True)
    covariance += (0.01 * np.diag(covariance).mean() + 1e-9) * np.eye(3)
    inverse = np.linalg.inv(covariance)
    expected = [mahalanobis(row, clean.mean(0).numpy(), inverse) ** 2 for row in vectors.numpy()]
    np.testing.assert_allclose(distances(vectors, clean).numpy(), expected)


def test_planted_cluster_is_found_and_shuffled_flags_are_not() -> None:
    vectors = normal(600, 4)
    poisoned = torch.arange(600) % 10 == 0
    vectors[poisoned] = 0.2 * vectors[poisoned] + 6
    found = dense_cluster(standardised(vectors), 30, 10)
    assert found is not None
    flagged = found > 0
    assert 2 * float((flagged & poisoned).sum()) / float(flagged.sum() + poisoned.sum()) > 0.95
    shuffled = poisoned[torch.randperm(600, generator=torch.Generator().manual_seed(4))]
    assert 2 * float((flagged & shuffled).sum()) / float(flagged.sum() + shuffled.sum()) < 0.25


def test_one_cluster_is_no_finding() -> None:
    assert dense_cluster(standardised(normal(200, 4)), 30, 10) is None
