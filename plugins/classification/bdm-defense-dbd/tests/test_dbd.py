"""DBD: its losses by hand, the rows it trusts, and MixMatch without mixing as a sum of two known losses."""

import numpy as np
import torch
from torch.nn import functional

from bdm_core.testing.tiny import new_context
from bdm_defense_dbd.losses import larger_shares, symmetric_cross_entropy
from bdm_defense_dbd.params import DbdParams
from bdm_defense_dbd.training import MixMatch, credible_rows, train
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.fitting import Batch
from bdm_torch.draws import Draw


class TestDBD(ClassifierDefenseConformance):
    plugin = "dbd"
    max_change = 30.0


def test_symmetric_cross_entropy_by_hand():
    logits = np.random.default_rng(0).normal(size=(5, 3))
    labels = np.array([0, 2, 1, 1, 0])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = []
    for row, label in enumerate(labels):
        one_hot = np.log(np.clip(np.eye(3)[label], 1e-4, 1))  # log of the label, clamped as in the authors' code
        wanted.append(-0.1 * np.log(shares[row, label]) - sum(shares[row, k] * one_hot[k] for k in range(3)))
    found = symmetric_cross_entropy(torch.tensor(logits), torch.tensor(labels))
    assert np.allclose(found.numpy(), wanted)


def test_planted_wrong_labels_are_not_credible():
    truth = torch.arange(100) % 5
    logits = 4.0 * torch.eye(5)[truth]
    wrong = torch.arange(100) < 20
    labels = torch.where(wrong, (truth + 1) % 5, truth)
    kept = credible_rows(logits, labels, 0.8)
    assert torch.equal(kept, ~wrong)


def test_shares_of_mixtures_follow_the_beta_distribution():
    shares = larger_shares(20_000, 0.75, torch.Generator().manual_seed(0)).double().numpy()
    reference = np.random.default_rng(0).beta(0.75, 0.75, 20_000)
    reference = np.maximum(reference, 1 - reference)
    assert abs(shares.mean() - reference.mean()) < 0.005
    assert abs(shares.std() - reference.std()) < 0.005


def test_mixmatch_with_nothing_mixed(monkeypatch):
    """With shares of 1 and no random changes it is a cross entropy plus the weighted distance to sharpened guesses."""
    monkeypatch.setattr("bdm_defense_dbd.training.larger_shares", lambda count, *_: torch.ones(count))
    classifier = build(ImageConfig(architecture="cnn", width=4, shape=(1, 8, 8), classes=["a", "b", "c"]), seed=0)
    pictures = torch.randint(0, 255, (6, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    rows = LabelledSamples(pictures, torch.zeros(6).long(), classifier.classes, "image-classification")
    params = DbdParams(mixing_strength=0.0, unlabelled_weight=8.0)
    batch = Batch(rows.raw([0, 1]), torch.tensor([2, 0]), torch.tensor([0, 1]))
    loss = MixMatch(classifier, rows, params, steps=4)
    found = loss(lambda inputs: classifier.eval()(inputs), batch, Draw(seed=0, step=1, batch_size=2))
    chosen = torch.randint(6, (2,), generator=Draw(seed=0, step=1, batch_size=2).generator)
    classifier.eval()
    shares = classifier(rows.raw(chosen)).softmax(1)
    guesses = shares**2 / (shares**2).sum(1, keepdim=True)
    wanted = functional.cross_entropy(classifier(batch.inputs), batch.labels)
    wanted = wanted + 8.0 * 0.5 * (shares - guesses).square().mean()
    assert torch.allclose(found, wanted, atol=1e-5)


def test_optimiser_and_schedule_are_those_of_the_fine_tuning_alone(tmp_path, bdm_bench, monkeypatch):
    """The paper learns features by SGD with a cosine, and the rest by Adam at a constant rate."""
    bench, seen = bdm_bench("image-classification"), []

    def learn_nothing(ctx, classifier, samples, params, **kinds):
        seen.append((params.optimizer, params.schedule, params.learning_rate))

    monkeypatch.setattr("bdm_defense_dbd.training.learn_features", learn_nothing)
    params = DbdParams(epochs=1, head_epochs=1, batch_size=10, optimizer="adam", schedule="constant")
    train(new_context(tmp_path), params, bench.model, bench.shared)
    assert seen == [("auto", "cosine", params.contrastive_learning_rate)]
