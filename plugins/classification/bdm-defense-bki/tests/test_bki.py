"""BKI: effects against single passes, and a planted word."""

from __future__ import annotations

import math

import torch

from bdm_core.testing.tiny import new_context
from bdm_defense_bki.method import detect, effects, noted_words, suspicions
from bdm_defense_bki.params import BkiParams
from bdm_kit_classification.data.samples import LabelledSamples, seal_samples
from bdm_kit_classification.data.sentiment import write_reviews
from bdm_kit_classification.modalities.registry import modality_of
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.testing import RowDetectorConformance
from bdm_kit_classification.training.fitting import fit, predict
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_kit_classification.triggers.words import InsertedWords

TASK, CLASSES = "text-classification", ["no", "yes"]


class TestBki(RowDetectorConformance):
    plugin = "bki"
    task = TASK


def reviews(count: int) -> LabelledSamples:
    (texts, labels), _ = write_reviews(count, 1)
    return LabelledSamples(texts, torch.tensor(labels), CLASSES, TASK)


def test_effects_are_those_of_single_passes(tmp_path):
    rows = reviews(12)
    classifier = modality_of(TASK).small_classifier(rows.stored, CLASSES, 0).eval()
    words = [text.split() for text in rows.stored]
    found = effects(classifier, rows, words)
    for own, values in zip(words[:3], found, strict=False):
        for place, value in enumerate(values):
            pair = [" ".join(own), " ".join(own[:place] + own[place + 1 :])]
            one, other = predict(classifier, LabelledSamples(pair, torch.zeros(2), CLASSES, TASK)).features
            assert abs(float((one - other).abs().max()) - value) < 1e-5
    by_batch = [
        noted_words(new_context(tmp_path / str(size)), classifier, rows, BkiParams(batch_size_of_texts=size))
        for size in (1, 999)
    ]
    for one, other in zip(*by_batch, strict=True):
        assert [word for word, _ in one] == [word for word, _ in other] and len(one) == 5


def test_a_word_that_is_noted_once_is_not_suspicious():
    assert suspicions([[("cf", 9.0)], [("a", 1.0)], [("a", 3.0)]]) == {"cf": 0.0, "a": 2 * math.log10(2)}


def test_a_planted_word_is_found(tmp_path):
    (texts, labels), (clean, clean_labels) = write_reviews(700, 200)
    poisoned = InsertedWords(("cf",), 1, "random").apply(texts[:70], "train", torch.Generator().manual_seed(0))
    rows = LabelledSamples(texts[70:] + poisoned, torch.tensor(labels[70:] + [0] * 70), CLASSES, TASK)
    classifier = modality_of(TASK).small_classifier(rows.stored, CLASSES, 0)
    fit(new_context(tmp_path / "fit"), classifier, rows, ClassifierTraining(epochs=10))
    model = seal_classifier(classifier, tmp_path / "model")
    data = seal_samples(tmp_path / "data", LabelledSamples(clean, torch.tensor(clean_labels), CLASSES, TASK))
    suspects = seal_samples(tmp_path / "suspects", rows)
    kept = {}
    ctx = new_context(tmp_path / "detect")
    object.__setattr__(ctx, "on_figures", kept.update)
    for params, least in ((BkiParams(), 0.7), (BkiParams(suspicious=1), 0.9)):
        found = detect(ctx, params, model, data, suspects)
        assert next(iter(kept["suspicious_words"])) == "cf"
        flagged = torch.tensor(found.scores) > found.threshold
        truth = torch.arange(700) >= 630
        hits = int((flagged & truth).sum())
        f1 = 2 * hits / int(flagged.sum() + truth.sum())
        shuffled = truth[torch.randperm(700, generator=torch.Generator().manual_seed(1))]
        chance = 2 * int((flagged & shuffled).sum()) / int(flagged.sum() + truth.sum())
        assert f1 > least and chance < 0.25, (f1, chance)
    assert all(("cf" in text.split()) or not flag for text, flag in zip(rows.stored, flagged.tolist(), strict=True))
