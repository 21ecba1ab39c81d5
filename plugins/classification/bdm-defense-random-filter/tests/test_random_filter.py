"""Rows flagged by lot."""

from __future__ import annotations

from pathlib import Path

import torch

from bdm_core.context import Context
from bdm_defense_random_filter.params import RandomFilterParams
from bdm_defense_random_filter.plugin import RandomFilter
from bdm_kit_classification.data.samples import LabelledSamples, seal_samples
from bdm_kit_classification.testing import RowDetectorConformance


class TestRandomFilter(RowDetectorConformance):
    plugin = "random-filter"


class TestRandomFilterOnTexts(TestRandomFilter):
    task = "text-classification"


class TestRandomFilterOnSound(TestRandomFilter):
    task = "audio-classification"


def test_the_share_is_flagged_and_the_seed_decides_which(tmp_path: Path) -> None:
    rows = LabelledSamples(
        torch.zeros(4000, 1, 1, 1, dtype=torch.uint8), torch.zeros(4000), ["a"], "image-classification"
    )
    data = seal_samples(tmp_path / "rows", rows)
    flagged = []
    for seed in (1, 1, 2):
        ctx = Context(tmp_path / "out", tmp_path / "work", seed)
        found = RandomFilter().detect(ctx, RandomFilterParams(share=0.2), data)
        assert found.verdict == "not identifiable" and len(found.scores) == 4000
        flagged.append([score > found.threshold for score in found.scores])
    assert flagged[0] == flagged[1] != flagged[2]
    assert abs(sum(flagged[0]) / 4000 - 0.2) < 4 * (0.2 * 0.8 / 4000) ** 0.5, "within four standard errors"
