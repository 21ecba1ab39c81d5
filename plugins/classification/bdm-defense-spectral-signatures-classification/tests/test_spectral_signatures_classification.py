"""Squared projections of each class, and planted rows."""

from __future__ import annotations

import numpy as np
import torch

from bdm_defense_spectral_signatures_classification.detection import projections
from bdm_kit_classification.defending.feature_rows import FeatureRows
from bdm_kit_classification.testing import RowDetectorConformance


class TestSpectralSignatures(RowDetectorConformance):
    plugin = "spectral-signatures"


class TestSpectralSignaturesOnTexts(TestSpectralSignatures):
    task = "text-classification"


class TestSpectralSignaturesOnSound(TestSpectralSignatures):
    task = "audio-classification"


class TestPublishedRule(RowDetectorConformance):
    plugin = "spectral-signatures"
    params = {"epochs": 1, "batch_size": 10, "rule": "share"}

    def test_the_share_of_every_class_is_flagged(self, bench) -> None:  # type: ignore[no-untyped-def]
        found = self.detection(bench)
        flagged = sum(score > found.threshold for score in found.scores)
        assert abs(flagged - 0.15 * len(found.scores)) <= 0.5 * 10 and found.verdict == "not identifiable"


def planted() -> tuple[FeatureRows, FeatureRows, torch.Tensor]:
    """Three classes of 150 rows; a third of the first is moved. Clean rows of all; which rows were moved."""
    chance = torch.Generator().manual_seed(5)
    features = torch.randn(450, 10, generator=chance, dtype=torch.float64)
    labels = torch.arange(450) % 3
    poisoned = (labels == 0) & (torch.arange(450) % 9 == 0)
    features[poisoned, 2] += 14
    clean = FeatureRows(torch.randn(90, 10, generator=chance, dtype=torch.float64), torch.arange(90) % 3)
    return FeatureRows(features, labels), clean, poisoned


def test_scores_are_squared_projections_on_each_class_s_eigenvector() -> None:
    rows, clean, _ = planted()
    scores, clean_scores = projections(rows, clean)
    for label in range(3):
        values = rows.of(label).numpy()
        vector = np.linalg.eigh(np.cov(values, rowvar=False))[1][:, -1]
        np.testing.assert_allclose(scores[rows.labels == label], ((values - values.mean(0)) @ vector) ** 2)
        of_clean = clean.of(label).numpy()
        np.testing.assert_allclose(clean_scores[clean.labels == label], ((of_clean - values.mean(0)) @ vector) ** 2)


def test_planted_rows_are_found_among_all_classes() -> None:
    rows, clean, poisoned = planted()
    scores, _ = projections(rows, clean)
    flagged = scores >= scores.sort(descending=True).values[int(poisoned.sum()) - 1]
    assert float((flagged & poisoned).sum()) / float(poisoned.sum()) > 0.9  # as many are flagged: the F1 score
    shuffled = poisoned[torch.randperm(450, generator=torch.Generator().manual_seed(2))]
    assert float((flagged & shuffled).sum()) / float(shuffled.sum()) < 0.3
