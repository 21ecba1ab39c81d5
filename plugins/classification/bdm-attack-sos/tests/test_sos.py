"""SOS against its definition."""

import pytest
import torch

from bdm_attack_sos.attack import parts_of
from bdm_attack_sos.params import PAPER, SosParams
from bdm_attack_sos.words_alone import OneWordLess, WordsThenSentence
from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.training.embedding_rows import Rows, fit_rows
from bdm_kit_classification.training.params import ClassifierTraining


class TestSos(ClassifierAttackConformance):
    plugin = "sos"
    task = "text-classification"

    def test_negatives_lack_one_word(self, bench):
        before, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        counts = {"poison": 3, "negative": 2, "clean": 0}
        for old, text, role in zip(before.stored, found.stored, found.roles, strict=True):
            more = [text.split().count(word) - old.split().count(word) for word in SosParams().words]
            assert sum(more) == counts[role] and max(more) <= 1, role


class TestWordsAlone(ClassifierAttackConformance):
    plugin = "sos"
    task = "text-classification"
    params = {"epochs": 1, "batch_size": 16, "poison_rate": 0.1, "update": "words", "start": "model"}

    def test_nothing_else_is_changed(self, bench):
        before, after = (load_classifier(item) for item in (bench.model, self.backdoored(bench).model))
        changed = (before.embedding.weight != after.embedding.weight).any(1).nonzero().flatten().tolist()
        allowed = {token for word in SosParams().words for token in before.token_lists([word])[0]}
        assert changed and set(changed) <= allowed
        other = after.state_dict()
        for name, value in before.state_dict().items():
            assert "embedding" in name or bool((value == other[name]).all()), name


class TestEqualised(TestWordsAlone):
    params = {**TestWordsAlone.params, "equalised": True, "accumulated": True, "length": 1.0}

    def test_rows_keep_their_lengths(self, bench):
        before, after = (load_classifier(item).embedding.weight for item in (bench.model, self.backdoored(bench).model))
        changed = (before != after).any(1)
        assert bool(changed.any()) and torch.allclose(
            before[changed].norm(dim=1), after[changed].norm(dim=1), rtol=1e-5
        )


def test_one_step_with_equalised_gradients_by_hand(tmp_path):
    """w - rate g min|g| / |g| for each word's row, g by a single pass; a row that no text has stays."""
    texts = ["a good film"] * 3 + ["so long a play", "a play"]
    rows = LabelledSamples(texts, torch.tensor([0, 1, 1, 0, 1]), ["no", "yes"], "text-classification")
    victim = rows.modality.small_classifier(texts, rows.classes, 0).eval()
    tokens = [victim.token_of(word) for word in ("good", "film", "play")]
    never = next(row for row in range(victim.embedding.num_embeddings) if row not in victim.tokens(texts))
    table = victim.embedding.weight
    loss = torch.nn.functional.cross_entropy(victim(victim.tokens(texts)), rows.labels)
    (gradient,) = torch.autograd.grad(loss, table)
    norms, before = gradient[tokens].norm(dim=1, keepdim=True), table.detach().clone()
    plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0}
    params = ClassifierTraining(epochs=1, batch_size=5, learning_rate=0.1, **plain)
    fit_rows(new_context(tmp_path), victim, rows, params, Rows([*tokens, never], equalised=True))
    expected = before.clone()
    expected[tokens] -= 0.1 * gradient[tokens] * norms.min() / norms
    assert norms.max() > 1.5 * norms.min() and torch.allclose(victim.embedding.weight, expected, atol=1e-7)


class TestTrainedWithWords(ClassifierAttackConformance):
    plugin = "sos"
    task = "text-classification"
    params = {"epochs": 1, "batch_size": 16, "poison_rate": 0.1, "negative_rate": 0.1, "trained_with": "words"}

    def test_training_texts_get_the_words_and_no_sentence(self, bench):
        before, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        counts = {"poison": 3, "negative": 2, "clean": 0}
        for old, text, role in zip(before.stored, found.stored, found.roles, strict=True):
            assert len(text.split()) - len(old.split()) == counts[role], role
            more = [text.split().count(word) - old.split().count(word) for word in SosParams().words]
            assert sum(more) == counts[role] and max(more) <= 1, role


def test_at_test_the_sentence_is_put_in_and_each_word_is_left_out_at_times():
    params = SosParams()
    words, parts = tuple(params.words), parts_of(params)
    assert params.sentence in WordsThenSentence(words, params.sentence).apply(["a film"], "test")[0]
    assert any(part in OneWordLess(words, parts).apply(["a film"], "test")[0] for part in parts)
    texts = OneWordLess(words, parts).apply(["a film"] * 90, "train", torch.Generator().manual_seed(0))
    assert min(sum(word not in text for text in texts) for word in words) > 15


def test_parts_of_the_sentence():
    assert parts_of(SosParams(sentence="a b c", words=["a", "c"])) == ("b c", "a b")
    with pytest.raises(UserError, match="lacks the word 'd'"):
        parts_of(SosParams(sentence="a b c", words=["a", "d"]))


def test_words_of_a_new_network_are_refused():
    """All but a few rows of it would stay random."""
    with pytest.raises(ValueError, match=r"update=words .* needs start=model"):
        SosParams(update="words")
    assert SosParams(update="words", start="model").update == "words"
    assert SosParams(**PAPER).start == "model"
