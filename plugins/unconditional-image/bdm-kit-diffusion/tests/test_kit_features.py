"""The shipped classifier and the feature space of the built-in Frechet distance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bdm_core.errors import UserError
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.data.classifiers import BUILTIN_CLASSIFIER
from bdm_kit_diffusion.recipes.digits_classifier import split_digits, train_classifier
from bdm_kit_diffusion.recipes.digits_quality import frechet_distance
from bdm_torch.features import ImageClassifier, load_classifier, save_classifier


def test_shipped_classifier_knows_digits_it_was_not_trained_on() -> None:
    pictures, labels = load_digits()
    train, held_out = split_digits()
    assert len(train) + len(held_out) == len(pictures)
    assert not set(train.tolist()) & set(held_out.tolist())
    accuracy = (
        (load_classifier(BUILTIN_CLASSIFIER).logits(pictures[held_out]).argmax(1) == labels[held_out])
        .float()
        .mean()
        .item()
    )
    assert accuracy >= 0.97


def test_logits_follow_from_the_features() -> None:
    pictures = load_digits()[0][:5]
    classifier = load_classifier(BUILTIN_CLASSIFIER)
    found = classifier.features(pictures)
    assert found.shape == (5, 48)
    read_out = torch.nn.functional.silu(found) @ classifier.read_out.weight.T + classifier.read_out.bias
    torch.testing.assert_close(classifier.logits(pictures), read_out)


def test_features_do_not_depend_on_the_batch() -> None:
    pictures = load_digits()[0][:9]
    classifier = load_classifier(BUILTIN_CLASSIFIER)
    torch.testing.assert_close(classifier.features(pictures, batch_size=2), classifier.features(pictures))


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(UserError, match=r"shape \(N, 1, 8, 8\), got \(2, 3, 32, 32\)"):
        load_classifier(BUILTIN_CLASSIFIER).features(torch.zeros(2, 3, 32, 32))


def test_classifier_survives_saving(tmp_path: Path) -> None:
    classifier = ImageClassifier(image_size=9, channels=3, widths=(4, 6), feature_count=5, classes=3).eval()
    save_classifier(classifier, tmp_path)
    pictures = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_classifier(tmp_path).logits(pictures), classifier.logits(pictures))
    (tmp_path / "config.json").write_text('{"image_size": 9, "colour": true}')
    with pytest.raises(UserError, match="holds no feature network"):
        load_classifier(tmp_path)


def test_training_is_reproducible() -> None:
    one, other = (train_classifier(steps=5)[0].state_dict() for _ in range(2))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_frechet_distance_of_gaussians_with_known_moments() -> None:
    """For commuting covariances it is |m - n|^2 + sum (sqrt a - sqrt b)^2."""
    noise = torch.randn(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    white = (noise - noise.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(noise.T))).T
    a, b, shift = torch.tensor([1.0, 4.0, 0.25]), torch.tensor([9.0, 1.0, 0.25]), torch.tensor([1.0, 0.0, -2.0])
    expected = float((shift**2).sum() + ((a.sqrt() - b.sqrt()) ** 2).sum())
    assert frechet_distance(white * a.sqrt(), white * b.sqrt() + shift) == pytest.approx(expected, abs=1e-5)
