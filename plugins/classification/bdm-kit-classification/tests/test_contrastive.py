"""The contrastive loss beside loops over pairs, and what is trained by it."""

import numpy as np
import pytest
import torch

from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.training.contrastive import contrastive_loss, fit_head, learn_features
from bdm_kit_classification.training.fitting import Changes, predict
from bdm_kit_classification.training.params import ClassifierTraining


def by_loops(one, other, temperature, labels=None):
    views = np.concatenate([one, other])
    views = views / np.linalg.norm(views, axis=1, keepdims=True)
    count, total = len(one), 0.0
    for i in range(2 * count):
        shares = {j: np.exp(views[i] @ views[j] / temperature) for j in range(2 * count) if j != i}
        positive = {(i + count) % (2 * count)}
        if labels is not None and labels[i % count] >= 0:
            positive |= {j for j in shares if labels[j % count] == labels[i % count]}
        total -= np.mean([np.log(shares[j] / sum(shares.values())) for j in positive])
    return total / (2 * count)


@pytest.mark.parametrize("labels", [None, [0, 1, 0, -1, -1, 1]])
def test_the_loss_is_that_of_loops_over_pairs(labels):
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 6, 4))
    given = None if labels is None else torch.tensor(labels)
    found = contrastive_loss(torch.tensor(one), torch.tensor(other), 0.3, given)
    assert np.isclose(float(found), by_loops(one, other, 0.3, labels))


def rows():
    """Two classes: pictures with a bright upper or lower half."""
    labels = torch.arange(64) % 2
    pictures = torch.randint(0, 60, (64, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for row, label in enumerate(labels.tolist()):
        pictures[row, :, 4 * label : 4 * label + 4] += 180
    return LabelledSamples(pictures, labels, ["a", "b"], "image-classification")


def test_features_are_learnt_and_the_head_is_left_alone(tmp_path):
    samples = rows()
    classifier = build(ImageConfig(architecture="cnn", width=4, shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    head, first = classifier.head.weight.clone(), next(classifier.parameters()).clone()
    params = ClassifierTraining(epochs=4, batch_size=32)
    learn_features(new_context(tmp_path, seed=1), classifier, samples, params, temperature=0.2, labels=samples.labels)
    assert torch.equal(classifier.head.weight, head)
    assert not torch.equal(next(classifier.parameters()), first)
    assert all(p.requires_grad for p in classifier.parameters())


def test_the_head_alone_is_fitted(tmp_path):
    samples = rows()
    classifier = build(ImageConfig(architecture="cnn", width=4, shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    params = ClassifierTraining(epochs=30, batch_size=32, learning_rate=0.5)
    fit_head(new_context(tmp_path, seed=1), classifier, samples, params, Changes(), "head")
    changed = {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"network.head.weight", "network.head.bias"}
    assert (predict(classifier, samples).classes == samples.labels).float().mean() > 0.9
