"""SIG against its formula in plain arithmetic."""

import math

import pytest
import torch

from bdm_attack_sig.attack import sinusoid
from bdm_attack_sig.params import SIGParams
from bdm_attack_sig.plugin import SIG
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestSIG(ClassifierAttackConformance):
    plugin = "sig"

    def test_every_label_is_kept_and_only_the_target_class_is_touched(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        assert torch.equal(clean.labels, found.labels)
        poison = [row for row, role in enumerate(found.roles) if role == "poison"]
        assert poison and {int(found.labels[row]) for row in poison} == {3}


def test_the_sinusoid_runs_along_columns_and_is_clipped():
    params = SIGParams(train_amplitude=0.25, test_amplitude=0.5, frequency=2.0)
    trigger = sinusoid(params, [3, 4, 10])
    x = torch.full((1, 3, 4, 10), 0.6)
    for phase, amplitude in (("train", 0.25), ("test", 0.5)):
        found = trigger.apply(x, phase)
        for column in range(10):
            value = min(1.0, max(0.0, 0.6 + amplitude * math.sin(2 * math.pi * column * 2 / 10)))
            assert torch.allclose(found[:, :, :, column], torch.tensor(value), atol=1e-6)


def test_the_papers_strength_in_decibels():
    params = SIGParams(**SIG.presets["paper"])
    x = torch.full((1, 3, 32, 32), 0.5)
    error = (sinusoid(params, [3, 32, 32]).apply(x, "test") - x).square().mean()
    assert float(-10 * error.log10()) == pytest.approx(-20 * math.log10(40 / 255 / math.sqrt(2)), abs=1e-3)
