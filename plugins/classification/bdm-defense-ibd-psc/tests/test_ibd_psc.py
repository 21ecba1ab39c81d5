"""IBD-PSC against a network scaled by hand, refusals in one line, and conformance."""

from __future__ import annotations

import copy

import pytest
import torch

from bdm_core.errors import UserError
from bdm_defense_ibd_psc.amplification import Amplification, amplified, choose_amplification, consistencies
from bdm_defense_ibd_psc.params import IbdPscParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.planted import plant
from bdm_kit_classification.training.fitting import predict

CONFIG = {"shape": (1, 8, 8), "classes": ["a", "b", "c"], "width": 4}
SAMPLES = LabelledSamples(
    torch.randint(0, 256, (12, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8),
    torch.arange(12) % 3,
    ["a", "b", "c"],
    "image-classification",
)


def deep():
    classifier = build(ImageConfig(architecture="preact-resnet18", **CONFIG), seed=1)
    for norm in classifier.norms().values():
        norm.bias.data.normal_(generator=torch.Generator().manual_seed(2))
    return classifier


def test_only_the_last_layers_are_amplified_and_all_is_put_back() -> None:
    classifier = deep()
    before = copy.deepcopy(classifier.state_dict())
    names = list(classifier.norms())
    with amplified(classifier, 3, 1.5):
        now = classifier.state_dict()
        for name in names:
            factor = 1.5 if name in names[-3:] else 1.0
            for part in ("weight", "bias"):
                assert torch.equal(now[f"{name}.{part}"], before[f"{name}.{part}"] * factor)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_score_is_the_mean_over_networks_changed_by_hand() -> None:
    classifier = deep()
    classes = predict(classifier, SAMPLES).classes
    expected = torch.zeros(12)
    for layers in (4, 5):
        other = copy.deepcopy(classifier)
        for norm in list(other.norms().values())[-layers:]:
            norm.weight.data *= 2.0
            norm.bias.data *= 2.0
        expected += predict(other, SAMPLES).logits.softmax(1)[torch.arange(12), classes] / 2
    found = consistencies(classifier, SAMPLES, Amplification(4, 2.0, []), models=2)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_the_fewest_layers_that_reach_the_error() -> None:
    classifier = deep()
    classes = predict(classifier, SAMPLES).classes
    clean = LabelledSamples(SAMPLES.stored, classes, SAMPLES.classes, SAMPLES.task)
    params = IbdPscParams(models=2, least_error=0.2, largest_factor=64.0)
    found = choose_amplification(classifier, clean, params)
    assert found.errors[-1] > 0.2 >= max([0.0, *found.errors[:-1]]) and len(found.errors) == found.layers


def test_a_planted_backdoor_keeps_its_confidence(tmp_path) -> None:
    """Amplified networks are less certain of clean pictures, by the scale of their logits, than of triggered ones."""
    planted = plant(tmp_path)
    classifier = load_classifier(planted.model)
    found = Amplification(2, 1.5, [])
    clean, triggered = (consistencies(classifier, some, found, 2) for some in (planted.clean, planted.triggered))
    limit = clean.quantile(0.95)
    flagged = torch.cat([clean, triggered]) > limit
    truth = torch.cat([torch.zeros(len(clean)), torch.ones(len(triggered))]).bool()
    assert f1(flagged, truth) > 0.9
    shuffled = truth[torch.randperm(len(truth), generator=torch.Generator().manual_seed(1))]
    assert f1(flagged, shuffled) < 0.6, "no more than the base rate, .43 of the pictures"


def f1(flagged: torch.Tensor, truth: torch.Tensor) -> float:
    return 2 * float((flagged & truth).sum()) / float(flagged.sum() + truth.sum())


def test_few_normalisations_are_refused_in_one_line() -> None:
    small = build(ImageConfig(architecture="cnn", **CONFIG), seed=0)
    with pytest.raises(UserError, match="has 4: it needs at least 6") as caught:
        choose_amplification(small, SAMPLES, IbdPscParams())
    assert "\n" not in str(caught.value)


def test_an_error_out_of_reach_is_refused_in_one_line() -> None:
    classifier = deep()
    clean = LabelledSamples(SAMPLES.stored, predict(classifier, SAMPLES).classes, SAMPLES.classes, SAMPLES.task)
    params = IbdPscParams(factor=1.001, largest_factor=1.001, least_error=0.99)
    with pytest.raises(UserError, match="cannot judge this model") as caught:
        choose_amplification(classifier, clean, params)
    assert "\n" not in str(caught.value)


class TestIbdPsc(ClassifierDefenseConformance):
    plugin = "ibd-psc"


class TestPublishedThreshold(ClassifierDefenseConformance):
    plugin = "ibd-psc"
    params = {"models": 1, "least_error": 0.1, "largest_factor": 16.0, "threshold": 0.5}

    def test_rejections_are_flagged(self, bench) -> None:
        """A fixed threshold keeps no false positive rate, and says so."""
        assert self.detection(bench).threshold == 0.5 and "no false positive rate" in self.detection(bench).note
        for made in self.purified(bench).values():
            assert len(made.rejected) == 16
