"""Poison Ink: edges against SciPy's Sobel, the ink, and that the decoder reads it again."""

import torch
from scipy import ndimage

from bdm_attack_poison_ink.attack import edges_of, ink_error, ink_of, train_ink
from bdm_attack_poison_ink.params import PoisonInkParams
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestPoisonInk(ClassifierAttackConformance):
    plugin = "poison-ink"


def test_edges_are_those_of_scipy():
    x = torch.rand(3, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    for picture, found in zip(x.mean(1).double().numpy(), edges_of(x, 0.6), strict=True):
        parts = [ndimage.sobel(picture, axis=axis, mode="nearest") for axis in (0, 1)]
        gradient = torch.from_numpy((parts[0] ** 2 + parts[1] ** 2) ** 0.5)
        assert torch.equal(found[0], (gradient >= 0.6 * gradient.max()).float())


def test_the_ink_is_coloured_edges_on_black():
    x = torch.zeros(1, 3, 6, 6)
    x[:, :, :, 3:] = 1.0
    ink = ink_of(x, (1.0, 0.5, 0.0), 0.5)
    assert ink[0, :, 0].T.tolist() == [[0.0, 0.0, 0.0]] * 2 + [[1.0, 0.5, 0.0]] * 2 + [[0.0, 0.0, 0.0]] * 2


def test_the_ink_is_read_again(tmp_path, bdm_bench):
    samples = open_samples(bdm_bench("image-classification").data)
    params = PoisonInkParams(encoder_steps=300, batch_size=16, encoder_rate=0.01, change=0.1, width=8)
    trigger = train_ink(new_context(tmp_path), params, samples)
    assert trigger.colour == (0.5,)
    assert ink_error(trigger, samples) < 0.4, "1 is what an empty picture gives"
    clean = samples.raw()
    ink = ink_of(clean, trigger.colour, trigger.threshold)
    reads = [trigger.read(x) for x in (clean, trigger.apply(clean, "test"))]
    assert float((reads[1] - ink).square().mean()) < 0.7 * float((reads[0] - ink).square().mean())
