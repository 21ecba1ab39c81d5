"""TABOR: its regularisers against sums by hand, and their gradients against finite differences."""

import numpy as np
import torch

from bdm_defense_tabor.method import METHOD, blocking, elastic, overlaying, quality, roughness, unlike_a_trigger
from bdm_defense_tabor.params import TaborParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.inversion.search import Inverted, Stamp
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import ClassifierDefenseConformance

SHAPE = (1, 8, 8)


class TestTabor(ClassifierDefenseConformance):
    plugin = "tabor"


def model():
    return build(ImageConfig(architecture="cnn", width=4, shape=SHAPE, classes=["a", "b", "c"]), seed=0).double()


def stamp(classifier, masks, patterns):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(5, *SHAPE, generator=generator, dtype=torch.float64)
    return Stamp(masks, patterns, torch.tensor([0, 2]), inputs, torch.tensor([0, 1, 2, 0, 1]), classifier)


def values():
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.rand(2, *SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))


def test_elastic_and_roughness_by_hand():
    picture = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    rough = [
        sum((one[:, i + 1, j] - one[:, i, j]) @ (one[:, i + 1, j] - one[:, i, j]) for i in range(3) for j in range(5))
        + sum((one[:, i, j + 1] - one[:, i, j]) @ (one[:, i, j + 1] - one[:, i, j]) for i in range(4) for j in range(4))
        for one in picture
    ]
    assert np.allclose(roughness(torch.tensor(picture)).numpy(), rough)
    assert np.allclose(elastic(torch.tensor(picture)).numpy(), [abs(one).sum() + (one**2).sum() for one in picture])


def test_blocking_and_overlaying_are_cross_entropies():
    classifier, (masks, patterns) = model(), values()
    given = stamp(classifier, masks, patterns)
    for place in range(2):
        left = torch.log_softmax(classifier(given.inputs * (1 - masks[place])), 1)
        wanted = -left[range(5), given.labels].mean()
        assert torch.allclose(blocking(given)[place], wanted)
        alone = torch.log_softmax(classifier((masks[place] * patterns[place])[None]), 1)
        assert torch.allclose(overlaying(given)[place], -alone[0, given.targets[place]])


def test_the_sum_has_all_six_and_its_gradient_is_right():
    classifier, (masks, patterns) = model(), values()
    names = ("mask_elastic", "outside_elastic", "mask_smoothness", "outside_smoothness", "blocking", "overlaying")
    none = dict.fromkeys(names, 0.0)
    each = [unlike_a_trigger(TaborParams(**{**none, name: 2.0}))(stamp(classifier, masks, patterns)) for name in names]
    together = unlike_a_trigger(TaborParams(**dict.fromkeys(names, 2.0)))(stamp(classifier, masks, patterns))
    assert torch.allclose(sum(each), together)
    assert all((one > 0).all() for one in each)
    size = unlike_a_trigger(TaborParams())
    masks.requires_grad_(True)
    (gradient,) = torch.autograd.grad(size(stamp(classifier, masks, patterns)).sum(), masks)
    step = torch.zeros_like(masks)
    step[1, 0, 3, 4] = 1e-6
    with torch.no_grad():
        up, down = (size(stamp(classifier, masks + sign * step, patterns)).sum() for sign in (1, -1))
    assert torch.allclose((up - down) / 2e-6, gradient[1, 0, 3, 4], rtol=1e-4)


class Pixel(torch.nn.Module):
    """Class 0 if the first pixel is bright; else class 1 if the last one is, and class 2 of a dark picture."""

    device = torch.device("cpu")

    def forward(self, inputs):
        first, last = inputs[:, 0, 0, 0], inputs[:, 0, -1, -1]
        return torch.stack([8 * first, 4 * last, torch.ones_like(first)], 1)


def test_the_measure_by_hand():
    """Two masks of equal area that work alike: a block, and the same number of scattered pixels."""
    pictures = torch.zeros(4, *SHAPE, dtype=torch.uint8)
    pictures[1:, 0, -1, -1] = 255
    rows = LabelledSamples(pictures, torch.ones(4).long(), ["a", "b", "c"], "image-classification")
    block, scattered = torch.zeros(2, *SHAPE)
    block[0, :2, :2] = 1
    scattered[0, ::4, ::4] = 1
    found = []
    for mask, differences in ((block, 4), (scattered, 12)):  # neighbours of which one is in the mask, of 112 pairs
        mask[0, 0, 6] = 0.05  # below a tenth of the largest entry: not counted
        two = Inverted(mask.repeat(2, 1, 1, 1), torch.ones(2, *SHAPE), torch.ones(2))
        found.append(quality(Pixel(), rows, two).numpy())
        shares = np.exp([8, 0, 1]) / np.exp([8, 0, 1]).sum()  # of the trigger alone
        shape = np.log(4 / 64) + np.log(differences / 112)
        of_target = shape - np.log(1.0) - np.log(0.75) - np.log(shares[0])
        of_another = shape - np.log(0.125) - np.log(0.75) - np.log(0.125)  # shares below half a row count as it
        assert np.allclose(found[-1], [of_target, of_another], atol=1e-4)
    assert found[0][0] < found[1][0] and METHOD.calibrated.name == "tabor"
