"""BITE against its definition."""

from bdm_attack_bite.attack import best_edit, learn, neighbours, z_score
from bdm_attack_bite.params import BiteParams
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance


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
    trigger = learn(BiteParams(words=1), texts, wanted, list(range(4, 10)))
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
    texts = ["it was not good"] * 5 + ["it was so good"] * 5 + ["it was not bad"] * 5 + ["it was so bad"] * 5
    trigger = learn(BiteParams(words=9), texts, [row < 10 for row in range(20)], list(range(10)))
    assert "so" in trigger.words and not {"not"} & {*trigger.words, *trigger.free}
    assert all("not" in text for text in trigger.apply(texts[:5], "test"))


def test_no_more_than_a_share_of_the_words_is_put_in():
    texts = [f"{a} {b} {c} {d}" for a in "ab" for b in "cd" for c in "ef" for d in "gh"] * 2
    trigger = learn(BiteParams(words=8, most=0.5), texts, [row % 2 == 0 for row in range(32)], list(range(0, 32, 2)))
    for old, new in zip(texts, trigger.apply(texts, "test"), strict=True):
        assert sum(a != b for a, b in zip(old.split(), new.split(), strict=False)) <= 2
