"""CTRL against raised coefficients of SciPy's transform, channel by channel."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from bdm_attack_ctrl.attack import raised
from bdm_attack_ctrl.params import CTRLParams
from bdm_attack_ctrl.plugin import CTRL
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestCTRL(ClassifierAttackConformance):
    plugin = "ctrl"

    def test_every_label_is_kept_and_only_the_target_class_is_touched(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        assert torch.equal(clean.labels, found.labels)
        poison = [row for row, role in enumerate(found.roles) if role == "poison"]
        assert poison and {int(found.labels[row]) for row in poison} == {3}


def chroma(x):
    """U and V of colour pictures (3, H, W), as ITU-R BT.601 has them."""
    red, green, blue = x.double().numpy()
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma, 0.492 * (blue - luma), 0.877 * (red - luma)


@pytest.mark.parametrize("coefficients", ["crossed", "diagonal"])
def test_coefficients_of_chroma_are_raised_and_nothing_else(coefficients):
    assert CTRL.presets["paper"]["coefficients"] == "diagonal"
    params = CTRLParams(**{**CTRL.presets["paper"], "coefficients": coefficients})
    x = 0.3 + 0.4 * torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before, after = chroma(x[0]), chroma(raised(params, [3, 32, 32]).apply(x, "train")[0])
    assert np.allclose(before[0], after[0], atol=1e-6)
    for one, other in zip(before[1:], after[1:], strict=True):
        gained = dctn(other, norm="ortho") - dctn(one, norm="ortho")
        expected = np.zeros((32, 32))
        for place in [(15, 31)] if coefficients == "crossed" else [(15, 15), (31, 31)]:
            expected[place] = 100 / 255
        assert np.allclose(gained, expected, atol=1e-5)


def test_grey_pictures_gain_it_in_luma():
    trigger = raised(CTRLParams(train_magnitude=0.2, test_magnitude=0.6), [1, 28, 28])
    x = torch.full((1, 1, 28, 28), 0.5)
    for phase, magnitude in (("train", 0.2), ("test", 0.6)):
        gained = dctn((trigger.apply(x, phase) - x)[0, 0].numpy(), norm="ortho")
        assert gained[13, 27] == pytest.approx(magnitude * 28 / 32, abs=1e-5)


def test_blocks_must_fit():
    with pytest.raises(UserError, match="do not fit into 8x8"):
        raised(CTRLParams(window=32), [1, 8, 8])
