"""SentiNet: Grad-CAM by hand, a boundary in closed form, a planted trigger, and conformance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_defense_sentinet.boundary import Boundary, fit_boundary
from bdm_defense_sentinet.gradcam import class_maps, map_layer, regions
from bdm_defense_sentinet.params import SentiNetParams
from bdm_defense_sentinet.pasting import SentiNet, pasted
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.models.classifier import Classifier, PrunableLayer
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.separation import separation


class Tiny(Classifier):
    """One convolution, the mean over the picture, a linear head: linear in the convolution's output."""

    task, classes = "image-classification", ["a", "b"]

    def __init__(self, head: Tensor) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, head.shape[1], 1, bias=False), nn.Linear(head.shape[1], 2)
        self.conv.weight.data = torch.tensor([1.0, -1.0])[: head.shape[1], None, None, None]
        self.last.weight.data, self.last.bias.data = head, torch.zeros(2)
        self.eval()

    def features(self, inputs: Tensor) -> Tensor:
        return self.conv(inputs).mean((2, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.features(inputs))

    @property
    def head(self) -> nn.Linear:
        return self.last

    def prunable_layers(self) -> list[PrunableLayer]:
        return [PrunableLayer("conv", self.conv, None)]

    def fresh(self, seed: int) -> Classifier:
        raise NotImplementedError

    def write(self, folder) -> None:
        raise NotImplementedError

    def facts(self) -> dict[str, object]:
        raise NotImplementedError


def test_grad_cam_in_closed_form() -> None:
    """The logit is head . mean(A), so its slope is head / (H W) everywhere, and the map ReLU(sum head A) / (H W)."""
    head = torch.tensor([[2.0, 0.5], [-1.0, 3.0]])
    classifier = Tiny(head)
    x = torch.rand(3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 1, 0])
    found = class_maps(classifier, classifier.conv, x, classes)
    for row, label in enumerate(classes.tolist()):
        by_hand = np.maximum((head[label, 0] - head[label, 1]).item() * x[row, 0].numpy(), 0) / 20
        assert found[row].numpy() == pytest.approx(by_hand, abs=1e-6)


def test_region_is_a_share_of_the_maximum() -> None:
    maps = torch.tensor([[[0.1, 0.5], [0.99, 2.0]]])
    assert regions(maps, 0.25).tolist() == [[[False, True], [True, True]]]


def test_a_layer_too_small_is_refused_in_one_line() -> None:
    class Pooled(Tiny):
        def prunable_layers(self) -> list[PrunableLayer]:
            return []

    with pytest.raises(UserError, match="sentinet needs a convolution") as caught:
        map_layer(Pooled(torch.ones(2, 1)), torch.zeros(1, 1, 4, 4), 0.5)
    assert "\n" not in str(caught.value)


def test_boundary_takes_the_highest_points() -> None:
    chance = np.random.default_rng(0)
    x = chance.uniform(0, 1, 400)
    below = (0.2 + 0.3 * x) * chance.uniform(0, 1, 400)
    top = np.linspace(0.05, 0.95, 10)
    boundary = fit_boundary(np.r_[x, top], np.r_[below, 0.2 + 0.3 * top + 0.2], bins=10, degree=1)
    assert boundary.coefficients == pytest.approx([0.3, 0.4], abs=1e-9)


def test_distance_to_a_straight_line() -> None:
    boundary = Boundary(np.array([0.0, 0.5, 0.25]))  # y = x / 2 + 1 / 4
    x, y = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    expected = (y - 0.5 * x - 0.25) / np.sqrt(1 + 0.25)
    assert boundary.distances(x, y) == pytest.approx(expected, abs=2e-3)


def test_a_planted_patch_takes_over() -> None:
    """White corner pixels decide for class b; all else is dim. Their region fools all, that of clean pictures none."""
    classifier = Tiny(torch.tensor([[0.0], [20.0]]))
    classifier.last.bias.data = torch.tensor([2.0, 0.0])  # class b where the mean is above 0.1
    generator = torch.Generator().manual_seed(0)
    dim = torch.rand(20, 1, 6, 6, generator=generator) * 0.1
    triggered = dim.clone()
    triggered[:, :, :2, :2] = 1.0

    def rows(x: Tensor) -> LabelledSamples:
        stored = (x * 255).round().to(torch.uint8)
        return LabelledSamples(stored, torch.zeros(len(x), dtype=torch.int64), ["a", "b"], "image-classification")

    method = SentiNet(classifier, rows(dim[:6]), SentiNetParams(map_share=1.0), seed=0)
    masks, classes = method.regions_of(rows(triggered), [0, 1])
    assert classes.tolist() == [1, 1] and masks[0].nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    found = method.points(rows(triggered))
    assert found.fooled.tolist() == [1.0] * 20
    assert bool((found.confidence >= 0.5).all())


class Colours(Tiny):
    """Three classes by colour, and class 0 wherever a pixel is white: evidence of its own, far stronger."""

    classes = ["red", "green", "blue"]

    def __init__(self) -> None:
        super().__init__(torch.ones(2, 1))
        self.conv, self.last = nn.Conv2d(3, 4, 1), nn.Linear(4, 3)
        self.conv.weight.data = torch.cat([torch.eye(3), torch.ones(1, 3)])[:, :, None, None]
        self.conv.bias.data = torch.tensor([-0.2, -0.2, -0.2, -2.4])
        self.last.weight.data = torch.tensor([[60.0, -30, -30, 3000], [-30, 60, -30, 0], [-30, -30, 60, 0]])
        self.last.bias.data = torch.zeros(3)
        self.eval()

    def features(self, inputs: Tensor) -> Tensor:
        return self.conv(inputs).relu().mean((2, 3))


def test_triggered_pictures_are_found_and_shuffled_flags_are_not() -> None:
    """A small blob of a colour seldom takes a picture with a larger one over, the white corner always does."""

    def coloured(count: int, seed: int, sides: tuple[int, int] = (2, 5), trigger: bool = False) -> LabelledSamples:
        chance = torch.Generator().manual_seed(seed)
        x, labels = 0.1 * torch.rand(count, 3, 12, 12, generator=chance), torch.arange(count) % 3
        for row, label in enumerate(labels.tolist()):
            spans = sides, (0, 8), (0, 8)
            size, down, right = (int(torch.randint(*span, (1,), generator=chance)) for span in spans)
            x[row, label, down : down + size, right : right + size] += 0.6
        if trigger:
            x[:, :, -2:, -2:] = 1.0
        return LabelledSamples((x * 255).round().to(torch.uint8), labels, Colours.classes, Colours.task)

    params = SentiNetParams(false_positive_rate=0.02, bins=25)
    method = SentiNet(Colours(), coloured(24, 1, (4, 6)), params, seed=0)
    known = method.points(coloured(60, 2))
    boundary = fit_boundary(known.confidence, known.fooled, params.bins, params.degree)
    scores = [
        torch.from_numpy(boundary.distances(found.confidence, found.fooled))
        for found in map(method.points, (coloured(160, 3), coloured(40, 4, trigger=True), coloured(60, 5)))
    ]
    judged = judged_rows("input", torch.cat(scores[:2]), scores[2], params.false_positive_rate)
    reached = separation(torch.cat(scores[:2]) > judged.threshold, torch.arange(200) >= 160)
    assert reached.f1 > 0.9 > 0.4 > reached.shuffled


def test_pasting() -> None:
    clean, patch = torch.zeros(2, 1, 2, 2), torch.ones(1, 2, 2)
    region = torch.tensor([[True, False], [False, False]])
    assert pasted(clean, region, patch).sum((1, 2, 3)).tolist() == [1.0, 1.0]


class TestSentiNet(ClassifierDefenseConformance):
    plugin = "sentinet"
