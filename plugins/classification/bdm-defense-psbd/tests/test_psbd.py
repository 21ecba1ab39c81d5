"""Uncertainties by NumPy, dropout that keeps the mean, and a planted case."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bdm_defense_psbd.dropout import chosen_rate, probabilities, uncertainties
from bdm_defense_psbd.params import PsbdParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import RowDetectorConformance
from bdm_kit_classification.training.fitting import predict


class TestPsbd(RowDetectorConformance):
    plugin = "psbd"

    def test_impossible_rates_are_refused(self) -> None:
        with pytest.raises(ValidationError, match=r"within \(0, 1\)"):
            PsbdParams(rates=[1.0])


def random_probabilities(seed: int) -> torch.Tensor:
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(seed)).softmax(1)


def test_uncertainty_follows_its_definition() -> None:
    plain, passes = random_probabilities(0), [random_probabilities(seed) for seed in (1, 2, 3)]
    found = uncertainties(plain, passes)
    classes = plain.numpy().argmax(1)
    stacked = np.stack([part.numpy() for part in passes])
    kept = stacked[:, np.arange(7), classes].mean(0)
    np.testing.assert_allclose(found.uncertainty.numpy(), plain.numpy()[np.arange(7), classes] - kept, atol=1e-6)
    assert found.changed == pytest.approx((stacked.argmax(2) != classes).mean())


def test_the_rate_is_that_of_the_largest_difference_among_those_that_shift_clean_rows() -> None:
    rates, clean = [0.6, 0.2, 0.4, 0.8], [0.9, 0.5, 0.85, 0.95]
    suspects = [0.7, 0.1, 0.8, 0.9]
    reached = {rate: one - other for rate, one, other in zip(rates, clean, suspects, strict=True) if one >= 0.8}
    assert rates[chosen_rate(rates, clean, suspects, 0.8)] == max(reached, key=reached.__getitem__) == 0.6
    assert rates[chosen_rate(rates, clean, suspects, 0.99)] == 0.2, "none shifts so many: the largest of all"


def samples() -> LabelledSamples:
    pictures = torch.randint(0, 256, (20, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return LabelledSamples(pictures, torch.zeros(20, dtype=torch.int64), ["a", "b"], "image-classification")


def test_dropout_drops_and_keeps_the_mean() -> None:
    classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    last = classifier.prunable_layers()[-1].norm
    assert last is not None
    torch.nn.init.ones_(last.bias)  # features are positive: the ReLU behind them is linear
    plain = predict(classifier, samples()).logits.softmax(1)
    passes = [probabilities(classifier, samples(), [last], 0.05, seed) for seed in range(60)]
    assert not torch.allclose(passes[0], plain, atol=1e-3)
    torch.testing.assert_close(torch.stack(passes).mean(0), plain, atol=0.04, rtol=0)
    again = probabilities(classifier, samples(), [last], 0.05, 0)
    assert torch.equal(passes[0], again)


def test_rows_that_keep_their_class_are_found() -> None:
    chance = torch.Generator().manual_seed(2)
    poisoned = torch.arange(100) % 5 == 0
    logits = torch.randn(100, 5, generator=chance)
    logits[:, 0] += 6
    strength = torch.where(poisoned, 0.2, 4.0)[:, None]
    passes = [(logits + strength * torch.randn(100, 5, generator=chance)).softmax(1) for _ in range(3)]
    score = -uncertainties(logits.softmax(1), passes).uncertainty
    flagged = score >= score.sort(descending=True).values[19]
    shuffled = poisoned[torch.randperm(100, generator=torch.Generator().manual_seed(3))]
    assert float((flagged & shuffled).sum()) / 20 < 0.4, "shuffled flags give no more than about the base rate"
    assert float((flagged & poisoned).sum()) / 20 > 0.6 > 0.5 > float((flagged & ~poisoned).sum()) / 20
