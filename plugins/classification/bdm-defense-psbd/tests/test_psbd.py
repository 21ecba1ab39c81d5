"""Uncertainties by NumPy, dropout that keeps the mean, and a planted case."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from bdm_core.testing.tiny import new_context
from bdm_defense_psbd.detection import checkpoint
from bdm_defense_psbd.dropout import chosen_rate, probabilities, uncertainties
from bdm_defense_psbd.params import PsbdParams
from bdm_defense_psbd.plugin import Psbd
from bdm_kit_classification.data.samples import LabelledSamples, seal_samples
from bdm_kit_classification.models.classifier import Classifier, PrunableLayer
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import RowDetectorConformance
from bdm_kit_classification.testing.separation import separation
from bdm_kit_classification.training.fitting import Changes, Predictions, fit, predict


class TestPsbd(RowDetectorConformance):
    plugin = "psbd"

    def test_impossible_rates_are_refused(self) -> None:
        with pytest.raises(ValidationError, match=r"within \(0, 1\)"):
            PsbdParams(rates=[1.0])


class TestPsbdOfACheckpoint(RowDetectorConformance):
    plugin = "psbd"
    params: ClassVar[dict[str, object]] = {**Psbd.tiny_params, "epochs": 2, "checkpoint_epochs": 1}

    def test_a_checkpoint_beyond_the_training_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="beyond the 2 epochs"):
            PsbdParams(epochs=2, checkpoint_epochs=3)


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


def changing(share: float, count: int) -> torch.Tensor:
    """Probabilities (count, 2) whose first rows, so many, are of class 1, the others of class 0."""
    changed = torch.arange(count) < round(share * count)
    return torch.stack([torch.where(changed, 0.1, 0.9), torch.where(changed, 0.9, 0.1)], 1)


@pytest.mark.parametrize(("steady", "wanted"), [(0.0, 0.7), (0.3, 0.3)])
def test_the_preset_chooses_the_published_rate(monkeypatch, tmp_path: Path, steady: float, wanted: float) -> None:
    """The largest difference is at .3, that among rates at which 80 % of the reserve shift at .7; the second time so
    many shift nowhere.
    """
    of_clean = {0.1: 0.1, 0.2: 0.3, 0.3: 0.7, 0.4: 0.75, 0.5: 0.8, 0.6: 0.85, 0.7: 0.9, 0.8: 0.95, 0.9: 0.95}
    of_rows = {0.1: 0.05, 0.2: 0.2, 0.3: 0.1, 0.4: 0.5, 0.5: 0.7, 0.6: 0.7, 0.7: 0.6, 0.8: 0.8, 0.9: 0.85}

    def shifted(classifier, given: LabelledSamples, layers, rate: float, seed: int) -> torch.Tensor:
        share = of_clean[rate] - steady * (of_clean[rate] >= 0.8) if len(given) == 20 else of_rows[rate]
        return changing(share, len(given))

    def plain(classifier, given: LabelledSamples) -> Predictions:
        return Predictions(torch.tensor([[1.0, 0.0]]).repeat(len(given), 1), torch.zeros(len(given), 1))

    pictures = torch.zeros(60, 1, 4, 4, dtype=torch.uint8)
    rows = LabelledSamples(pictures, torch.arange(60) % 4, ManyUnits.classes, ManyUnits.task)
    suspects, clean = (seal_samples(tmp_path / str(count), rows.pick(list(range(count)))) for count in (40, 20))
    module, kept, ctx = "bdm_defense_psbd.detection", {}, new_context(tmp_path / "run")
    object.__setattr__(ctx, "on_figures", kept.update)
    monkeypatch.setattr(f"{module}.load_classifier", lambda model, device: ManyUnits())
    monkeypatch.setattr(f"{module}.probabilities", shifted)
    monkeypatch.setattr(f"{module}.predict", plain)
    params = PsbdParams(**{**Psbd.presets["paper"], "checkpoint_epochs": 0})
    Psbd().detect(ctx=ctx, params=params, model=None, data=clean, suspects=suspects)
    assert kept["rate"] == wanted and kept["rates"] == [round(0.1 * number, 1) for number in range(1, 10)]


def test_a_checkpoint_is_the_training_half_way(tmp_path: Path) -> None:
    """What the whole training has after two of its four epochs, and nothing of the model that was given."""
    known = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    params, seen = PsbdParams(epochs=4, checkpoint_epochs=2, batch_size=8), []
    ctx = new_context(tmp_path / "part", seed=3)
    found = checkpoint(ctx, params, known, samples())
    whole = known.fresh(3)
    after = Changes(after_step=lambda step: seen.append(whole.head.weight.detach().clone()))
    fit(new_context(tmp_path / "whole", seed=3), whole, samples(), params, after)
    assert len(seen) == 4 * 3 and not found.training
    assert torch.equal(found.head.weight, seen[2 * 3 - 1])


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


class ManyUnits(Classifier):
    """A unit for each of four clean pixels, its class's evidence alone, and sixty for the pixel of the trigger."""

    task, classes, trained_on = "image-classification", ["a", "b", "c", "d"], "tests"

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 64, 4, bias=False), nn.Linear(64, 4)
        pixels = torch.cat([torch.arange(4), torch.full((60,), 15)])
        self.conv.weight.data = 10 * torch.eye(16)[pixels].reshape(64, 1, 4, 4)
        classes = torch.cat([torch.arange(4), torch.zeros(60, dtype=torch.int64)])
        self.last.weight.data = torch.eye(4)[:, classes] / torch.cat([torch.ones(4), torch.full((60,), 60.0)])
        self.last.bias.data.zero_()
        self.eval()

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.conv(inputs).relu().flatten(1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.features(inputs))

    @property
    def head(self) -> nn.Linear:
        return self.last

    def prunable_layers(self) -> list[PrunableLayer]:
        return [PrunableLayer("conv", self.conv, None)]

    def fresh(self, seed: int) -> Classifier:
        raise NotImplementedError

    def write(self, folder) -> None:
        raise NotImplementedError

    def facts(self) -> dict[str, object]:
        raise NotImplementedError


def test_rows_that_keep_their_class_are_found_and_shuffled_flags_are_not(monkeypatch, tmp_path: Path) -> None:
    """Dropout takes the one unit of a clean row, and never all of the trigger's: its evidence is spread over many."""

    def rows(count: int, poisoned: torch.Tensor, seed: int) -> LabelledSamples:
        x = 0.1 * torch.rand(count, 16, generator=torch.Generator().manual_seed(seed))
        labels = torch.arange(count) % 4
        x[torch.arange(count), labels] = 0.9
        x[poisoned, labels[poisoned]] = 0
        x[poisoned, 15] = 1
        labels[poisoned] = 0
        stored = (x * 255).round().to(torch.uint8).reshape(count, 1, 4, 4)
        return LabelledSamples(stored, labels, ManyUnits.classes, ManyUnits.task)

    poisoned = torch.arange(400) % 10 == 7
    suspects = seal_samples(tmp_path / "suspects", rows(400, poisoned, 0))
    clean = seal_samples(tmp_path / "clean", rows(200, torch.zeros(200, dtype=torch.bool), 1))
    monkeypatch.setattr("bdm_defense_psbd.detection.load_classifier", lambda model, device: ManyUnits())
    ctx, params = new_context(tmp_path / "run"), PsbdParams(false_positive_rate=0.01)
    found = Psbd().detect(ctx=ctx, params=params, model=None, data=clean, suspects=suspects)
    reached = separation(torch.tensor(found.scores, dtype=torch.float64) > found.threshold, poisoned)
    assert reached.f1 > 0.9 > 0.3 > reached.shuffled
