"""Passes through classifiers are counted, whoever runs them."""

import copy

import torch

from bdm_core.context import Context
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.training.fitting import fit, predict
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_torch.passes import counting

PICTURES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def new():
    return build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"], width=2), seed=0)


def counted(run) -> tuple[int, int]:
    with counting() as passes:
        run()
    return passes.forward, passes.backward


def test_copies_and_fresh_networks_count():
    classifier = new()
    assert counted(lambda: copy.deepcopy(classifier)(PICTURES).sum().backward()) == (3, 3)
    assert counted(lambda: classifier.fresh(1).features(PICTURES).sum().backward()) == (3, 3)


def test_a_gradient_for_pictures_or_head_alone_counts_once():
    classifier = new().requires_grad_(False)
    wanted = PICTURES.clone().requires_grad_()
    assert counted(lambda: torch.autograd.grad(classifier(wanted).sum(), wanted)) == (3, 3)
    classifier.head.weight.requires_grad_(True)
    assert counted(lambda: classifier(PICTURES).sum().backward()) == (3, 3)


def test_a_second_derivative_counts_again():
    classifier, wanted = new(), PICTURES.clone().requires_grad_()

    def run():
        (gradient,) = torch.autograd.grad(classifier(wanted).softmax(1)[:, 0].sum(), wanted, create_graph=True)
        gradient.square().sum().backward()

    assert counted(run) == (3, 6)


def test_parts_of_a_model_that_masks_change_count():
    classifier = new()
    weights = {name: value * 0.5 for name, value in classifier.named_parameters()}
    assert counted(lambda: torch.func.functional_call(classifier, weights, (PICTURES,)).sum().backward()) == (3, 3)


def test_training_and_prediction(tmp_path):
    rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"], TASK)
    ctx: Context = new_context(tmp_path / "ctx")
    params = ClassifierTraining(epochs=3, batch_size=5)
    assert counted(lambda: fit(ctx, new(), rows, params)) == (30, 30)
    assert counted(lambda: predict(new(), rows)) == (10, 0)


def test_nothing_is_counted_afterwards_nor_twice_within():
    classifier = new()
    with counting() as outer:
        with counting() as inner:
            logits = classifier(PICTURES)
        classifier(PICTURES)
    logits.sum().backward()
    assert (outer.forward, inner.forward) == (6, 3)


TASK = "image-classification"
