"""Rows that are learnt first, and rows whose features change: planted cases, and what falls to the base rate."""

import numpy as np
import pytest
import torch

from bdm_core.errors import StageError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.consistency import (
    between_centres,
    changes_of_features,
    distinguish,
    within_classes,
)
from bdm_kit_classification.defending.consistency_params import DistinguishingParams
from bdm_kit_classification.defending.flagged import flagged_rows, rows_above
from bdm_kit_classification.defending.isolation import held_up, isolation_scores, log_losses, most_suspicious
from bdm_kit_classification.defending.isolation_params import IsolationParams
from bdm_kit_classification.defending.pseudo_labels import nearest_centres
from bdm_kit_classification.training.fitting import Predictions, predict
from bdm_torch.draws import Draw

CLASSES = ["a", "b", "c", "d"]


def planted(count=200, bad=20):
    """Noise with labels at random, which nobody learns fast; of the rows some have a bright square and label 0."""
    generator = torch.Generator().manual_seed(5)
    pictures = torch.randint(0, 128, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 4, (count,), generator=generator)
    flags = torch.zeros(count, dtype=torch.bool)
    flags[torch.randperm(count, generator=generator)[:bad]] = True
    pictures[flags, :, 1:5, 1:5] = 255
    labels[flags] = 0
    return LabelledSamples(pictures, labels, CLASSES, "image-classification"), flags


def f1(found, wanted):
    return float(2 * (found & wanted).sum() / (found.sum() + wanted.sum()))


def test_planted_rows_are_isolated_and_shuffled_flags_are_not(tmp_path):
    samples, flags = planted()
    classifier = samples.modality.small_classifier(samples.stored, CLASSES, 0)
    params = IsolationParams(batch_size=20, isolation_loss=1.0, isolation_epochs=3, looks=2)
    scores = isolation_scores(new_context(tmp_path, seed=2), classifier, samples, params)
    found = most_suspicious(scores, 0.1)
    assert int(found.sum()) == 20
    assert f1(found, flags) > 0.9
    shuffled = flags[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    assert f1(found, shuffled) < 0.3


def test_without_looks_the_loss_at_the_end_counts(tmp_path):
    samples, _ = planted(60, 6)
    classifier = samples.modality.small_classifier(samples.stored, CLASSES, 0)
    params = IsolationParams(batch_size=20, isolation_epochs=2, looks=0)
    scores = isolation_scores(new_context(tmp_path, seed=2), classifier, samples, params)
    logits = predict(classifier, samples).logits.double().numpy()
    at_end = np.log(np.exp(logits).sum(1)) - logits[range(60), samples.labels]
    assert scores.numpy() == pytest.approx(-np.log(at_end), rel=1e-3)


def test_rows_that_a_network_is_sure_of_keep_their_order():
    """Of two classes the loss is log(1 + exp(-m)) at a margin m: far below what float32 tells from 0 at 20."""
    margins = torch.tensor([5.0, 12.0, 16.0, 16.5, 20.0, 24.0])
    logits = torch.stack([margins, torch.zeros(6)], 1)
    found = log_losses(logits, torch.zeros(6).long()).numpy()
    assert found == pytest.approx(np.log(np.log1p(np.exp(-margins.double().numpy()))), abs=1e-3)
    scores = -torch.as_tensor(found).float()
    flagged = rows_above(scores, 0.5, "rows")
    assert torch.equal(most_suspicious(scores, 0.5), torch.arange(6) > 2)
    assert flagged_rows(flagged, 6).tolist() == [False, False, False, True, True, True]


def test_isolation_ranks_rows_of_small_losses(tmp_path, monkeypatch):
    samples, _ = planted(60, 6)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    logits = torch.nn.functional.one_hot(samples.labels, 4) * (10.0 + 0.25 * order)[:, None]
    where = "bdm_kit_classification.defending.isolation.predict"
    monkeypatch.setattr(where, lambda *_: Predictions(logits, torch.zeros(60, 1)))
    classifier = samples.modality.small_classifier(samples.stored, CLASSES, 0)
    scores = isolation_scores(new_context(tmp_path), classifier, samples, IsolationParams(isolation_epochs=1))
    assert torch.equal(scores.argsort(), order.argsort())


def test_ascent_raises_low_losses_and_lowers_high_ones():
    for how in ("ascent", "flooding"):
        for value, direction in ((0.2, -1.0), (2.0, 1.0)):
            losses = torch.full((3,), value, requires_grad=True)
            held_up(losses, IsolationParams(isolation=how, isolation_loss=1.0)).backward()
            assert torch.allclose(losses.grad, torch.full((3,), direction / 3))


class Bright(torch.nn.Module):
    """Features: the means of four quadrants, and ten times the pixel in the corner."""

    training = False
    device = torch.device("cpu")

    def features(self, inputs):
        parts = torch.nn.functional.adaptive_avg_pool2d(inputs, 2).flatten(1)
        return torch.cat([parts, 10 * inputs[:, :1, 0, 0]], 1)


def test_features_that_hang_on_one_pixel_change_most():
    generator = torch.Generator().manual_seed(0)
    pictures = torch.full((60, 1, 8, 8), 100, dtype=torch.uint8)
    pictures += torch.randint(0, 10, pictures.shape, generator=generator, dtype=torch.uint8)
    flags = torch.arange(60) % 10 == 0
    pictures[flags, :, 0, 0] = 255
    samples = LabelledSamples(pictures, torch.zeros(60).long(), CLASSES, "image-classification")
    params = DistinguishingParams(strength=1.0, transformations=32)
    scores = changes_of_features(Bright(), samples, params, seed=0)
    found = most_suspicious(scores, 0.1)
    assert f1(found, flags) > 0.9
    assert f1(found, flags[torch.randperm(60, generator=torch.Generator().manual_seed(0))]) < 0.3
    assert torch.equal(scores, changes_of_features(Bright(), samples, params, seed=0))


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_the_change_of_features_by_hand(kind):
    """The mean over transformations of the squared distance, over the squared length where it is relative."""
    pictures = torch.randint(50, 200, (6, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    samples = LabelledSamples(pictures, torch.zeros(6).long(), CLASSES, "image-classification")
    params = DistinguishingParams(strength=0.7, transformations=3, feature_change=kind)
    usual, draw = Bright().features(samples.raw()).numpy(), Draw(4, 0, 6)
    moved = [Bright().features(samples.modality.distort(samples.raw(), draw, 0.7)).numpy() for _ in range(3)]
    wanted = np.mean([((one - usual) ** 2).sum(1) for one in moved], axis=0)
    wanted = wanted / (usual**2).sum(1) if kind == "relative" else wanted
    assert changes_of_features(Bright(), samples, params, seed=4).numpy() == pytest.approx(wanted, rel=1e-5)


def test_rows_taken_for_clean_and_poisoned_are_disjoint_shares(tmp_path):
    samples, _ = planted(100, 10)
    classifier = samples.modality.small_classifier(samples.stored, CLASSES, 0)
    epochs = {"warmup_epochs": 1, "compact_epochs": 1, "batch_size": 20}
    params = DistinguishingParams(clean_share=0.3, clean_by_class=False, poisoned_share=0.1, **epochs)
    found = distinguish(new_context(tmp_path, seed=2), classifier, samples, params)
    assert int(found.clean.sum()) == 30
    assert int(found.poisoned.sum()) == 10
    assert not (found.clean & found.poisoned).any()
    assert found.scores[found.poisoned].min() >= found.scores[found.clean].max()


def test_the_distance_within_classes_by_hand():
    features = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(12) % 3
    wanted = sum(((features[labels == k] - features[labels == k].mean(0)) ** 2).sum() for k in range(3)) / 12
    assert torch.allclose(within_classes(features, labels), wanted)


def test_flags_without_clean_rows():
    scores = torch.tensor([0.0, 3.0, 1.0, 2.0, -1.0])
    detection = rows_above(scores, 0.4, "rows")
    assert flagged_rows(detection, 5).tolist() == [False, True, False, True, False]
    assert flagged_rows(detection, 4) is None
    assert flagged_rows(None, 5) is None
    with pytest.raises(StageError, match="not finite"):
        rows_above(torch.tensor([0.0, float("nan")]), 0.5, "rows")


def test_pseudo_labels_ignore_suspicious_labels():
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(90) % 3
    features = torch.eye(3)[truth] + 0.1 * torch.randn(90, 3, generator=generator)
    labels, suspicious = truth.clone(), torch.arange(90) < 30
    labels[suspicious] = 0
    assert torch.equal(nearest_centres(features, labels, ~suspicious, 4), truth)


def test_the_cosines_of_centres_by_hand():
    features, labels = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
    centres = np.stack([features[labels == label].numpy().mean(0) for label in range(3)])
    pairs = [
        centres[a] @ centres[b] / np.linalg.norm(centres[a]) / np.linalg.norm(centres[b])
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert float(between_centres(features, labels)) == pytest.approx(2 * sum(pairs) / 9, abs=1e-6)


def test_centres_are_pushed_apart_without_looking_at_the_cross_entropy(tmp_path):
    samples, _ = planted()

    def after(kind):
        classifier = samples.modality.small_classifier(samples.stored, CLASSES, 0)
        params = DistinguishingParams(batch_size=50, compact=kind, compact_weight=1.0, compact_epochs=6)
        distinguish(new_context(tmp_path / kind, seed=1), classifier, samples, params)
        with torch.no_grad():
            return float(
                between_centres(
                    classifier.features(samples.modality.collate(samples.raw(), classifier)), samples.labels
                )
            )

    assert after("centres") < after("spread")


@pytest.mark.parametrize("how", ["isolation", "consistency"])
def test_rows_are_told_apart_without_augmentation(tmp_path, how):
    """A shift would move the trigger; it is for the training that follows."""
    samples, _ = planted(60, 6)

    def scores(shift):
        classifier, ctx = samples.modality.small_classifier(samples.stored, CLASSES, 0), new_context(tmp_path / shift)
        augmented = {"batch_size": 20, "shift": int(shift), "flip": shift != "0"}
        if how == "isolation":
            return isolation_scores(ctx, classifier, samples, IsolationParams(**augmented, isolation_epochs=1))
        params = DistinguishingParams(**augmented, warmup_epochs=1, compact_epochs=0)
        return distinguish(ctx, classifier, samples, params).scores

    assert torch.equal(scores("0"), scores("2"))


def test_rows_are_told_apart_without_clipping(tmp_path):
    """A clip is for the training that follows."""
    samples, _ = planted(60, 6)

    def scores(norm):
        classifier, ctx = (
            samples.modality.small_classifier(samples.stored, CLASSES, 0),
            new_context(tmp_path / str(norm)),
        )
        params = DistinguishingParams(batch_size=20, warmup_epochs=1, compact_epochs=1, max_gradient_norm=norm)
        return distinguish(ctx, classifier, samples, params).scores

    assert torch.equal(scores(None), scores(1e-3))
