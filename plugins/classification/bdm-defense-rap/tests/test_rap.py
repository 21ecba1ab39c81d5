"""RAP on a classifier whose trigger is known."""

import torch

from bdm_core.testing.tiny import new_context
from bdm_defense_rap.method import detect, disturb, probabilities, with_word
from bdm_defense_rap.params import RapParams
from bdm_kit_classification.data.samples import INPUTS, LabelledSamples, seal_samples
from bdm_kit_classification.data.sentiment import write_reviews
from bdm_kit_classification.modalities.registry import modality_of
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.embedding_rows import rarest_token
from bdm_kit_classification.training.fitting import fit
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_kit_classification.triggers.words import InsertedWords

TASK, CLASSES = "text-classification", ["no", "yes"]


class TestRap(ClassifierDefenseConformance):
    plugin = "rap"
    task = TASK
    kit_params = {"samples": 8}


def test_a_row_keeps_its_length_if_it_is_to(tmp_path):
    (texts, labels), _ = write_reviews(60, 1)
    rows = LabelledSamples(texts, torch.tensor(labels), CLASSES, TASK)
    classifier = modality_of(TASK).small_classifier(texts, CLASSES, 0)
    before, (word, token) = probabilities(classifier, rows), rarest_token(classifier, texts)
    old = classifier.embedding.weight[token].detach().clone()
    label = int(before.argmax(1)[rows.labels == before.argmax(1)][0])
    disturb(new_context(tmp_path), RapParams(length=1.0, epochs=3), classifier, rows, before, label, (word, token))
    new = classifier.embedding.weight[token].detach()
    assert not torch.equal(new, old) and torch.isclose(new.norm(), old.norm(), rtol=1e-5)


def test_a_trigger_is_steadier_than_what_reviews_say(tmp_path):
    (texts, labels), (clean, clean_labels), (more, others) = write_reviews(500, 100, 60)
    trigger = InsertedWords(("cf",), 1, "end")
    poisoned = trigger.apply(texts[:100], "train")
    rows = LabelledSamples(texts + poisoned, torch.tensor(labels + [0] * 100), CLASSES, TASK)
    classifier = modality_of(TASK).small_classifier(rows.stored, CLASSES, 0)
    fit(new_context(tmp_path / "fit"), classifier, rows, ClassifierTraining(epochs=8))
    reserve = LabelledSamples(clean, torch.tensor(clean_labels), CLASSES, TASK)
    before = probabilities(classifier, reserve)
    word, token = rarest_token(classifier, reserve.stored)
    kept = classifier.embedding.weight[token].detach().clone()
    disturb(new_context(tmp_path / "row"), RapParams(), classifier, reserve, before, 0, (word, token))
    mine = (before.argmax(1) == 0) & (reserve.labels == 0)
    taken = (before - probabilities(classifier, with_word(reserve, word)))[mine, 0]
    assert 0.05 < float(taken.mean()) < 0.5
    with torch.no_grad():
        classifier.embedding.weight[token] = kept
    model = seal_classifier(classifier, tmp_path / "model")
    wanted = [text for text, label in zip(more, others, strict=True) if label == 1]
    triggered = trigger.apply(wanted, "test")
    shown = LabelledSamples(wanted + triggered, torch.full((2 * len(wanted),), -1), CLASSES, TASK)
    data = seal_samples(tmp_path / "data", reserve)
    inputs = seal_samples(tmp_path / "inputs", shown, format=INPUTS)
    scores = detect(new_context(tmp_path / "detect"), RapParams(), model, data, inputs).scores
    normal, bad = scores[: len(wanted)], scores[len(wanted) :]
    assert sum(a < b for a in normal for b in bad) / len(wanted) ** 2 > 0.7
