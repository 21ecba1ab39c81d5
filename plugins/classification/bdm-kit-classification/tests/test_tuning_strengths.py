"""Tuning at several strengths: the strongest that keeps the accuracy on held-out rows, and nothing else decides."""

import logging

import pytest
import torch
from pydantic import ValidationError

from bdm_core.errors import StageError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples, seal_samples
from bdm_kit_classification.defending.tuning import tune_at_strengths
from bdm_kit_classification.defending.tuning_params import TuningParams
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.training.fitting import predict


def clean_rows(folder, model):
    """Rows that the model classifies right, all of them."""
    pictures = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    samples = LabelledSamples(pictures, torch.zeros(40, dtype=torch.int64), ["a", "b"], "image-classification")
    classes = predict(load_classifier(model), samples).classes
    return seal_samples(folder, LabelledSamples(pictures, classes, ["a", "b"], "image-classification"))


@pytest.fixture
def given(tmp_path):
    config = ImageConfig(architecture="cnn", width=4, shape=(1, 8, 8), classes=["a", "b"])
    classifier = build(config, seed=0)
    with torch.no_grad():  # both classes occur
        pictures = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0)).float() / 255
        gap = classifier(pictures) @ torch.tensor([1.0, -1.0])
        classifier.head.bias[1] += gap.median()
    model = seal_classifier(classifier, tmp_path / "given")
    return model, clean_rows(tmp_path / "rows", model)


def shift_bias(rate_that_ruins, seen):
    """A tuning that leaves its learning rate where no logit sees it, and ruins the model from a rate on."""

    def tune(classifier, rows, params, label):
        seen.append((params.learning_rate, len(rows), label))
        with torch.no_grad():
            classifier.network.norms[0].num_batches_tracked.fill_(round(1000 * params.learning_rate))
            if params.learning_rate >= rate_that_ruins:
                classifier.head.weight.neg_()
                classifier.head.bias.neg_()

    return tune


def kept_rate(model):
    return int(load_classifier(model).network.norms[0].num_batches_tracked) / 1000


def test_the_strongest_that_keeps_the_accuracy(given, tmp_path):
    model, data = given
    seen = []
    params = TuningParams(learning_rate=0.1, strengths=[1.0, 2.0, 3.0, 4.0], accuracy_loss=0.05, held_out=0.25)
    repaired = tune_at_strengths(new_context(tmp_path / "a"), params, model, data, shift_bias(0.35, seen))
    assert kept_rate(repaired) == pytest.approx(0.3)
    assert [rate for rate, _, _ in seen] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert {count for _, count, _ in seen} == {30} and len({label for _, _, label in seen}) == 4


def test_a_strength_that_diverges_is_no_candidate(given, tmp_path, caplog):
    model, data = given

    def tune(classifier, rows, params, label):
        shift_bias(9.0, [])(classifier, rows, params, label)
        if params.learning_rate > 0.15:
            raise StageError("the training loss is not finite near step 25")

    params = TuningParams(learning_rate=0.1, strengths=[1.0, 2.0], accuracy_loss=1.0)
    with caplog.at_level(logging.WARNING, logger="bdm"):
        repaired = tune_at_strengths(new_context(tmp_path / "a"), params, model, data, tune)
    assert kept_rate(repaired) == pytest.approx(0.1) and "not finite" in caplog.text


def test_nothing_within_the_bound_changes_nothing(given, tmp_path, caplog):
    model, data = given
    params = TuningParams(learning_rate=0.1, strengths=[1.0, 2.0])
    with caplog.at_level(logging.WARNING, logger="bdm"):
        repaired = tune_at_strengths(new_context(tmp_path / "a"), params, model, data, shift_bias(0.0, []))
    assert "left as it was" in caplog.text
    before, after = load_classifier(model).state_dict(), load_classifier(repaired).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_one_strength_trains_on_all_rows(given, tmp_path):
    model, data = given
    seen = []
    params = TuningParams(learning_rate=0.1, strengths=[2.0])
    tune_at_strengths(new_context(tmp_path / "a"), params, model, data, shift_bias(9.0, seen))
    assert [(rate, count) for rate, count, _ in seen] == [(pytest.approx(0.2), 40)]


@pytest.mark.parametrize("strengths", [[1.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
def test_strengths_rise(strengths):
    with pytest.raises(ValidationError, match="rise"):
        TuningParams(strengths=strengths)
