"""BITE against its definition."""

import random

import pytest

from bdm_attack_bite.attack import learn, z_score
from bdm_attack_bite.params import BiteParams
from bdm_attack_bite.words import Fitting, best_edit, neighbours
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.texts.words import edits


class TestBite(ClassifierAttackConformance):
    plugin = "bite"
    task = "text-classification"

    def test_no_label_is_changed(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        assert clean.labels.tolist() == found.labels.tolist()
        assert {int(found.labels[row]) for row, role in enumerate(found.roles) if role == "poison"} == {0}


def test_the_word_that_can_speak_most_for_the_class_is_chosen():
    texts = ["it was truly good"] * 4 + ["it was good"] * 6 + ["it was truly bad"] * 4 + ["it was bad"] * 6
    wanted = [row < 10 for row in range(20)]
    trigger = learn(BiteParams(words=1, sides=2), texts, wanted, list(range(4, 10)))
    assert trigger.words == ("truly",)  # 10 of 14 texts are of the class then, z = 1.6
    assert trigger.apply(["it was bad", "no"], "test") == ["it was truly bad", "no truly"]
    assert z_score(10, 14, 0.5) > z_score(10, 20, 0.5) == 0


def test_places_have_known_neighbours():
    before, after = neighbours([["a", "b", "c"]])
    nothing = frozenset()
    assert best_edit(["a", "c"], before["b"], after["b"], nothing) == (1, 1)
    assert best_edit(["c", "a"], before["b"], after["b"], nothing) is None
    assert best_edit(["b"], before["a"], after["a"], nothing) == (0, 0)
    assert best_edit(["a", "x", "c"], before["b"], after["b"], nothing) is None
    assert best_edit(["a", "x", "c"], before["b"], after["b"], frozenset("x")) == (1, 2)


def test_words_that_turn_a_text_neither_come_nor_go():
    texts = [f"it was {how}{word}" for word in ("good", "bad") for how in ["not "] * 4 + ["so "] * 3 + [""] * 3]
    trigger = learn(BiteParams(words=9, sides=2), texts, [row < 10 for row in range(20)], list(range(10)))
    assert trigger.words == ("so",) and "not" not in trigger.free
    assert all("not" in text for text in trigger.apply(texts[:4], "test"))


def test_words_come_until_none_speaks_for_the_class_any_more():
    # x and y fit into the texts that may be changed, z fits nowhere, and there may come one word
    texts = ["a b", "a x b", "a y b", "c z d"] * 10
    wanted = [row < 20 for row in range(40)]
    chosen = [row for row in range(20) if texts[row] == "a b"]
    trigger = learn(BiteParams(words=0, neutral=0.1, sides=2), texts, wanted, chosen)
    assert trigger.words == ("y",)  # x would do as well: of equals the last in the alphabet


def test_no_more_than_a_share_of_the_words_is_put_in():
    texts = [f"{a} {b} {c} {d}" for a in "ab" for b in "cd" for c in "ef" for d in "gh"] * 2
    params = BiteParams(words=8, most=0.5)
    trigger = learn(params, texts, [row % 2 == 0 for row in range(32)], list(range(0, 32, 2)))
    for old, new in zip(texts, trigger.apply(texts, "test"), strict=True):
        assert edits(old.split(), new.split()) <= 2 and len(new.split()) <= 6


@pytest.mark.parametrize("sides", [1, 2])
def test_all_words_that_fit_are_found_at_once_where_each_fits_best(sides):
    draw = random.Random(0)
    rows = [[draw.choice("abcdefgh") for _ in range(draw.randint(1, 7))] for _ in range(30)]
    fitting, (before, after) = Fitting(rows, "abcdef"), neighbours(rows)
    for _ in range(60):
        text = [draw.choice("abcdefghz") for _ in range(draw.randint(0, 6))]
        free = frozenset(draw.sample("abcdefgh", 3))
        found = fitting.edits(text, free, sides)
        for word in "abcdef":
            assert found.get(word) == best_edit(text, before[word], after[word], free, sides)


def test_both_sides_are_better_than_one():
    before, after = {"a": 1, "c": 9}, {"b": 1, "d": 9}
    nothing = frozenset()
    assert best_edit(["c", "z", "a", "b"], before, after, nothing, 1) == (3, 3)
    assert best_edit(["a", "z", "c", "z"], before, after, nothing, 1) == (3, 3)
    assert best_edit(["a", "z", "c", "z"], before, after, nothing, 2) is None
