"""The searches against closed forms, the verdict on planted measures."""

import math
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from bdm_core.errors import UserError
from bdm_defense_classifier_audit.baseline import opened
from bdm_defense_classifier_audit.decision import (
    CALIBRATED,
    FEATURES,
    Lead,
    decide,
    doubt_of,
    features_of,
    leads,
    of_baseline,
    of_mode,
)
from bdm_defense_classifier_audit.detection import described, out_of_reach, unfit_pictures
from bdm_defense_classifier_audit.measures import LARGE, MEASURES, TOGETHER
from bdm_defense_classifier_audit.params import ClassifierAuditParams
from bdm_defense_classifier_audit.probes import positive_mass, shares_of_strange, shifted_features
from bdm_defense_classifier_audit.searches import (
    Aims,
    added,
    largest_margins,
    smallest_norms,
    smallest_patches,
    warped,
)
from bdm_defense_classifier_audit.spectrum import cosine_basis, smallest_spectra, spectral_norm
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


def test_a_wave_is_one_frequency():
    """Class 2 depends on one frequency alone; the smallest spectrum that reaches it has hardly more than that one."""
    basis = cosine_basis(4)
    wave = torch.outer(basis[2], basis[1]).flatten()
    weight = torch.zeros(3, 16)
    weight[0], weight[1, :8], weight[1, 8:] = 0.4, -0.4, 0.4
    weight[2] = 8 * wave
    model = Linear(weight, torch.tensor([2.0, 0.0, 0.0])).requires_grad_(False)
    pictures = torch.full((2, 1, 4, 4), 0.5)
    labels = model(pictures).argmax(1)
    found = smallest_spectra(model, pictures, Aims(labels, 3), steps=200, seed=0)
    lead = float(model(pictures)[0, 0])
    needed = lead / 8  # 8 times the wave's coefficient must exceed class 0's logit, which the wave leaves as it is
    assert needed <= float(found[2]) < 1.6 * needed
    assert float(found[1]) > 2 * float(found[2])


def test_the_norm_of_a_spectrum_counts_channels_of_a_frequency_together():
    spectrum = torch.zeros(1, 2, 4, 4)
    spectrum[0, :, 1, 2] = torch.tensor([3.0, 4.0])
    spectrum[0, 0, 0, 0] = -1.0
    assert float(spectral_norm(spectrum)) == pytest.approx(6.0, abs=1e-4)


def test_strange_pictures_go_where_the_model_sends_them():
    """A model that says class 1 whenever neighbours differ much, as they do in noise alone."""

    class Rough(Linear):
        def forward(self, pictures):
            rough = (pictures[..., 1:] - pictures[..., :-1]).square().flatten(1).mean(1)
            return torch.stack([torch.full_like(rough, 0.01), rough, torch.zeros_like(rough)], 1)

    model = Rough(torch.zeros(3, 64), torch.zeros(3))
    aims = Aims(torch.zeros(2, dtype=torch.int64), 3)
    found = shares_of_strange(model, torch.full((2, 1, 8, 8), 0.5), aims, seed=0)
    assert found["noise"].argmax() == 1
    assert found["noise"][1] > 3 * found["noise"][2] and found["noise"][2] == pytest.approx(0.03, rel=1e-5)


def test_positive_mass_leaves_out_what_all_classes_share():
    model = SimpleNamespace(head=nn.Linear(2, 3))
    model.head.weight.data = torch.tensor([[5.0, 1.0], [6.0, 1.0], [7.0, 4.0]])
    assert positive_mass(model).tolist() == pytest.approx([0.0, 0.0, 1.0 + 2.0])


@pytest.mark.parametrize("seed", range(2))
def test_the_smallest_shift_of_features_is_the_distance_in_the_last_layer(seed):
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(6, 2, bias=False).requires_grad_(False)
    head.weight.data = torch.randn(2, 6, generator=generator)
    features = 50 + torch.rand(1, 6, generator=generator)  # far from 0, where the ReLU begins
    margin = head(features)[0]
    true = int(margin.argmax())
    expected = float((margin[true] - margin[1 - true]) / (head.weight[0] - head.weight[1]).norm())
    apply = shifted_features(SimpleNamespace(head=head))
    found = smallest_norms(apply, features, Aims(torch.tensor([true]), 2), (6,), 300, 0, start=1.0)
    assert expected <= float(found[1 - true]) * 1.001 and float(found[1 - true]) < 1.2 * expected


LEADS = sum(map(len, FEATURES.values()))


def clean_leads(count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    records = [
        ModelRecord(name=str(number), shape=(1, 8, 8), features=(0.2 * torch.rand(LEADS, generator=generator)).tolist())
        for number in range(count)
    ]
    return Calibration(recipe="by hand", configuration={}, records=records)


USUAL = {"patch": [10.0, 11.0, 12.0, 13.0], **{name: [5.0] * 4 for name in MEASURES if name != "patch"}}


def judged(mode="reference", **changed):
    found = leads({**USUAL, **changed}, mode, None if mode == "weights" else USUAL)
    return found, decide(found, mode, clean_leads(), 0.05)


@pytest.mark.parametrize("measure", [name for name in MEASURES if name not in LARGE])
def test_a_class_that_is_far_easier_to_reach_is_a_backdoor(measure):
    assert not judged()[1].backdoored
    found, verdict = judged(**{measure: [USUAL[measure][0], USUAL[measure][0], USUAL[measure][0] / 5, 20.0]})
    assert verdict.backdoored and verdict.p_value == pytest.approx(1 / 41)
    lead = next(item for item in found if item.measure == measure)
    assert lead.target == 2 and found[-1] == (TOGETHER, 2, pytest.approx(found[-1].size))
    said = described([lead], [[0.2]], ["a", "b", "c", "d"], True)
    assert said.startswith("class c:") and "times smaller" in said


@pytest.mark.parametrize("measure", sorted(LARGE))
def test_what_is_far_larger_is_a_backdoor(measure):
    assert judged(**{measure: [5.0, 5.0, 5.0, 50.0]})[1].backdoored


def test_a_little_in_every_measure_is_much_together():
    """Each lead is within those of clean models, but they are all of one class."""
    values = {
        name: [size * (1.15 if name in LARGE else 0.87) ** (label == 1) for label, size in enumerate(each)]
        for name, each in USUAL.items()
    }
    found = leads(values, "reference", USUAL)
    assert all(lead.target == 1 and lead.size < 0.2 for lead in found[:-1])
    assert found[-1].size > 3 * max(lead.size for lead in found[:-1])


def test_it_cannot_tell_where_all_together_is_among_the_highest_of_clean_models():
    """Of 40 clean models a tenth may be so: the fourth highest sum of them is the limit, and no single lead counts."""
    known = clean_leads()
    highest = sorted((row[-1] for row in of_mode(known.clean(), "pictures")), reverse=True)

    def said(together):
        return doubt_of([Lead("patch", 0, 9.0), Lead(TOGETHER, 0, together)], "pictures", known, 0.1)

    assert said(highest[3]) == "" and "cannot tell" in said((highest[3] + highest[2]) / 2)
    assert "in 90% of clean models it is at most" in said(1.0)


def test_together_counts_the_last_layer_twice_and_margins_never():
    """With the spread of the last layer (.07) a factor e^.07 is one standard deviation of it, counted twice."""
    once = [5.0, 5.0 * math.exp(0.07), 5.0, 5.0]
    assert leads({**USUAL, "head": once}, "reference", USUAL)[-1] == (TOGETHER, 1, pytest.approx(2.0))
    assert leads({**USUAL, "margin": [5.0, 50.0, 5.0, 5.0]}, "reference", USUAL)[-1].size == pytest.approx(0, abs=1e-9)
    capped = leads({**USUAL, "patch": [10.0, 11.0, 12e-9, 13.0]}, "reference", USUAL)[-1]
    assert capped == (TOGETHER, 2, pytest.approx(6.0))


def test_what_every_clean_model_has_is_no_lead():
    """A model that is led everywhere more easily, and to each class as easily as the reference, has no lead."""
    found = leads({name: [value / 2 for value in each] for name, each in USUAL.items()}, "reference", USUAL)
    assert [lead.size for lead in found] == pytest.approx([0.0] * len(found), abs=1e-9)
    assert leads(USUAL, "pictures", {})[0].size == pytest.approx(math.log(1.1))


def test_a_baseline_says_nothing_of_the_weights():
    assert set(of_baseline(USUAL)) == set(MEASURES) - {"margin", "head"}
    features = features_of(USUAL, of_baseline(USUAL), USUAL)
    assert len(features) == LEADS
    modes = ["pictures", "reference", "weights"]
    assert [value for mode in modes for value in of_mode([features], mode)[0]] == features


def test_by_weights_alone_only_margins_and_the_last_layer_count():
    assert judged("weights", head=[5.0, 5.0, 50.0, 5.0])[1].backdoored
    assert not judged("weights", patch=[10.0, 11.0, 1.0, 13.0])[1].backdoored


def small(classes="abcd", shape=(1, 8, 8)):
    config = {"bdm_architecture": "cnn", "shape": shape, "classes": list(classes)}
    return build(ImageConfig.model_validate(config), 0)


def test_it_cannot_tell_of_few_classes_nor_on_foreign_or_few_pictures():
    rows = LabelledSamples(
        torch.zeros(8, 1, 8, 8, dtype=torch.uint8), torch.arange(8) % 4, list("abcd"), "image-classification"
    )
    params = ClassifierAuditParams()
    assert "takes only 25%" in unfit_pictures(small(), rows, params)
    right = LabelledSamples(rows.stored, small()(torch.zeros(8, 1, 8, 8)).argmax(1), rows.classes, rows.task)
    assert "needs 40 clean pictures, and there are 8" in unfit_pictures(small(), right, params)
    assert unfit_pictures(small(), right, ClassifierAuditParams(reference="public")) == ""
    two = SimpleNamespace(classes=["a", "b"])
    assert "needs at least 4, this model has 2" in out_of_reach(two, "")


def test_settings_count_where_the_score_depends_on_them():
    def other(**given):
        params = ClassifierAuditParams(**given)
        return CALIBRATED.other_settings(params, CALIBRATED.read(), ignored=params.idle)

    assert other(doubt_rate=0.2) == other(baseline_epochs=7, reference="b") == other(steps=7, weights_only=True) == ""
    assert "steps=7 --model" in other(steps=7, reference="b") and "baseline_epochs=7 --model" in other(
        baseline_epochs=7
    )


def test_a_reference_of_other_classes_is_refused(tmp_path):
    small("abce").write(tmp_path)
    with pytest.raises(UserError, match="cannot compare"):
        opened(str(tmp_path), small(), tmp_path / "work")
    assert opened(str(tmp_path), small("abce"), tmp_path / "work").classes == list("abce")


def test_weights_alone_or_a_reference_not_both():
    with pytest.raises(ValidationError, match="leave reference out"):
        ClassifierAuditParams(weights_only=True, reference="public")
