"""Distances against closed forms."""

import math

import pytest
import torch

from bdm_core.testing import MetricConformance
from bdm_kit_classification.modalities.registry import modality_of


class TestStealth(MetricConformance):
    plugin = "stealth"

    def test_a_white_corner_changes_at_most_everything(self, bench):
        found = {item.metric: item.value for item in self.calls(bench)["perfect attack"].value}
        assert 0.9 < found["l_infinity"] <= 1 and found["psnr"] < 20 and found["ssim"] < 1


def test_distances_of_a_constant_shift():
    clean = torch.full((2, 3, 16, 16), 0.25)
    found = modality_of("image-classification").distances(clean, clean + 0.5)
    a, b = 0.25, 0.75
    assert found["psnr"].tolist() == pytest.approx([-10 * math.log10(0.25)] * 2)
    assert found["l_infinity"].tolist() == [0.5, 0.5]
    assert found["ssim"].tolist() == pytest.approx([(2 * a * b + 1e-4) / (a * a + b * b + 1e-4)] * 2)
