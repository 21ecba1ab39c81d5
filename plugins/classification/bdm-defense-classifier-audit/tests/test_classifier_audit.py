"""The searches against closed forms, the verdict on planted measures."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bdm_defense_classifier_audit.decision import decide, leads
from bdm_defense_classifier_audit.detection import described, out_of_reach
from bdm_defense_classifier_audit.searches import (
    Aims,
    added,
    largest_margins,
    smallest_norms,
    smallest_patches,
    warped,
)
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_torch.calibration_file import Calibration, ModelRecord


class TestClassifierAudit(ClassifierDefenseConformance):
    plugin = "classifier-audit"
    task = "image-classification"


class Linear(nn.Module):
    """Logits W x + b of flat pictures, with the little that the searches ask of a classifier."""

    def __init__(self, weight, bias):
        super().__init__()
        self.map = nn.Linear(weight.shape[1], weight.shape[0])
        self.map.weight.data, self.map.bias.data = weight, bias
        self.classes, self.device = [str(place) for place in range(len(weight))], torch.device("cpu")

    def forward(self, pictures):
        return self.map(pictures.flatten(1))


def linear(classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Linear(torch.randn(classes, 16, generator=generator), torch.zeros(classes)).requires_grad_(False)


@pytest.mark.parametrize("seed", range(3))
def test_the_smallest_addition_is_the_distance_to_the_boundary(seed):
    """Of one picture and two linear classes it is the margin over the norm of the difference of weights."""
    model = linear(2, seed)
    picture = torch.full((1, 1, 4, 4), 0.5)
    margin = model(picture)[0]
    true = int(margin.argmax())
    difference = model.map.weight[1 - true] - model.map.weight[true]
    expected = float((margin[true] - margin[1 - true]) / difference.norm())
    found = smallest_norms(added(model), picture, Aims(torch.tensor([true]), 2), (1, 4, 4), steps=200, seed=0)
    assert expected <= float(found[1 - true]) * 1.001 and float(found[1 - true]) < 1.15 * expected


def test_the_largest_margin_is_that_of_the_best_corner():
    model = linear(2)
    difference = model.map.weight[1] - model.map.weight[0]
    expected = [float((-difference).clamp_min(0).sum()), float(difference.clamp_min(0).sum())]
    assert largest_margins(model, (1, 4, 4), seed=0).tolist() == pytest.approx(expected, rel=1e-4)


def test_no_warp_changes_nothing():
    model, pictures = linear(), torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    logits = warped(model, 4, 4)(torch.zeros(3, 2, 5, 5), pictures)
    assert torch.allclose(logits, model(pictures).repeat(3, 1), atol=1e-5)


def test_a_single_pixel_that_decides_is_the_smallest_patch():
    """Class 2 depends on one pixel alone; for class 1 most pixels must be black."""
    weight = torch.zeros(3, 16)
    weight[0], weight[1] = 0.5, -0.5
    weight[2, 5] = 50.0
    model = Linear(weight, torch.tensor([0.0, 1.0, -20.0])).requires_grad_(False)
    pictures = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.3
    labels = model(pictures).argmax(1)
    assert labels.tolist() == [0] * 6
    sizes, patches = smallest_patches(model, pictures, Aims(labels, 3), steps=150, seed=0)
    assert float(sizes[2]) < 1.0 and float(sizes[1]) > 4.0
    assert int(patches[2].flatten().argmax()) == 5


def test_only_pictures_of_other_classes_count():
    aims = Aims(torch.tensor([0, 1]), 2)
    logits = torch.tensor([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 0.0]])
    assert aims.success(logits).tolist() == [1.0, 1.0]


def clean_leads(count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Calibration(
        recipe="by hand",
        configuration={},
        records=[
            ModelRecord(name=str(number), shape=(1, 8, 8), features=(0.2 * torch.rand(4, generator=generator)).tolist())
            for number in range(count)
        ],
    )


def measures(**changed):
    usual = {"patch": [10.0, 11.0, 12.0, 13.0], "added": [5.0] * 4, "warp": [1.0] * 4, "margin": [9.0] * 4}
    return leads({**usual, **changed})


@pytest.mark.parametrize("measure", ["patch", "added", "warp"])
def test_a_class_that_is_far_easier_to_reach_is_a_backdoor(measure):
    known = clean_leads()
    assert not decide(measures(), known, 0.05).backdoored
    found = measures(**{measure: [10.0, 10.0, 2.0, 10.0]})
    verdict = decide(found, known, 0.05)
    assert verdict.backdoored and verdict.p_value == pytest.approx(1 / 41)
    said = described(found, known.clean(), ["a", "b", "c", "d"], True)
    assert said.startswith("class c:") and "5 times smaller" in said


def test_a_margin_that_is_far_larger_is_a_backdoor():
    assert decide(measures(margin=[9.0, 9.0, 9.0, 90.0]), clean_leads(), 0.05).backdoored


def test_leads_ignore_what_all_classes_share():
    """A model that is led everywhere more easily has the same leads."""
    found = measures(patch=[1.0, 1.1, 1.2, 1.3])
    assert [lead.size for lead in found] == pytest.approx([lead.size for lead in measures()])
    assert found[0].size == pytest.approx(math.log(1.1))


def test_it_cannot_tell_of_few_classes_nor_on_foreign_pictures():
    rows = LabelledSamples(
        torch.zeros(8, 1, 8, 8, dtype=torch.uint8), torch.arange(8) % 4, list("abcd"), "image-classification"
    )
    four = build(
        ImageConfig.model_validate({"bdm_architecture": "cnn", "shape": (1, 8, 8), "classes": list("abcd")}), 0
    )
    assert "takes only 25%" in out_of_reach(four, rows, "")
    two = SimpleNamespace(classes=["a", "b"])
    assert "needs at least 4, this model has 2" in out_of_reach(two, rows, "")
