"""SCALE-UP against a loop, a classifier whose answer to amplification is known, and conformance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bdm_defense_scale_up.consistency import Consistency, consistency, usual
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.asking import Oracle
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.separation import separation

FACTORS = (3.0, 5.0, 7.0, 9.0, 11.0)


class Brightness(Oracle):
    """Class 1 where the first pixel is above one half, else 0; class 2 where the last one is white."""

    def _answer(self, samples: LabelledSamples) -> torch.Tensor:
        raw = samples.raw()
        classes = (raw[:, 0, 0, 0] > 0.5).long()
        classes[raw[:, 0, -1, -1] == 1] = 2
        return torch.eye(3)[classes]


def pictures(first: list[int], last: int = 0) -> LabelledSamples:
    stored = torch.zeros(len(first), 1, 8, 8, dtype=torch.uint8)
    stored[:, 0, 0, 0] = torch.tensor(first, dtype=torch.uint8)
    stored[:, 0, -1, -1] = last
    return LabelledSamples(stored, torch.zeros(len(first), dtype=torch.int64), ["a", "b", "c"], "image-classification")


def test_share_in_closed_form() -> None:
    """A pixel v turns at the first factor n with n v > 1/2: of 0.08 (20/255) 3 and 5 are too few, of 0.2 none is."""
    found = consistency(Brightness(), pictures([0, 10, 20, 51, 200]), FACTORS)
    expected = [np.mean([min(n * v / 255, 1) > 0.5 for n in FACTORS]) for v in (0, 10, 20, 51)]
    assert found.shares[:4].tolist() == pytest.approx([1 - share for share in expected])
    assert found.classes.tolist() == [0, 0, 0, 0, 1] and float(found.shares[4]) == 1.0
    assert found.shares[2].item() == pytest.approx(0.4)


def test_a_trigger_survives() -> None:
    found = consistency(Brightness(), pictures([0, 20, 90], last=255), FACTORS)
    assert found.classes.tolist() == [2, 2, 2] and found.shares.tolist() == [1, 1, 1]


def test_standardised_within_the_predicted_class() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 2, (60,), generator=generator)
    shares = torch.randint(0, 6, (60,), generator=generator).double() / 5
    known = usual(Consistency(classes, shares), classes=3, factors=5)
    own = shares[classes == 1].numpy()
    new = Consistency(torch.tensor([1, 2]), torch.tensor([0.6, 0.6], dtype=torch.float64))
    expected = [(0.6 - own.mean()) / own.std(ddof=1), (0.6 - shares.numpy().mean()) / shares.numpy().std(ddof=1)]
    assert known.standardised(new).tolist() == pytest.approx(expected)


def test_a_class_without_spread_is_no_division_by_zero() -> None:
    known = usual(Consistency(torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.float64)), 1, 5)
    assert float(known.deviations[0]) == pytest.approx(0.1)


def test_triggered_pictures_are_found_and_shuffled_flags_are_not() -> None:
    """Standardised by class and against clean pictures, as `detect` does; and without data, by the fixed threshold."""
    chance = torch.Generator().manual_seed(1)
    known, held, clean, triggered = (
        pictures(torch.randint(15, 90, (count,), generator=chance).tolist(), last)
        for count, last in ((60, 0), (60, 0), (160, 0), (40, 255))
    )
    usual_shares = usual(consistency(Brightness(), known, FACTORS), classes=3, factors=len(FACTORS))
    found = [consistency(Brightness(), samples, FACTORS) for samples in (clean, triggered, held)]
    scores, held_scores = torch.cat([usual_shares.standardised(some) for some in found]).split([200, 60])
    judged = judged_rows("input", scores, held_scores, 0.02)
    planted, shares = torch.arange(200) >= 160, torch.cat([some.shares for some in found[:2]])
    for flagged in (scores > judged.threshold, shares > 0.8):
        reached = separation(flagged, planted)
        assert reached.f1 > 0.9 > 0.4 > reached.shuffled


class TestScaleUp(ClassifierDefenseConformance):
    plugin = "scale-up"


class TestScaleUpDataFree(ClassifierDefenseConformance):
    plugin = "scale-up-data-free"

    def test_rejections_are_flagged(self, bench) -> None:
        """A fixed threshold keeps no false positive rate: it may turn every clean picture of a tiny model away."""
        for made in self.purified(bench).values():
            assert len(made.rejected) == 16
