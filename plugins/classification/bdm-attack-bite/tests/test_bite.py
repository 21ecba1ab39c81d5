"""BITE against its definition."""

from bdm_attack_bite.attack import best_place, learn, neighbours, z_score
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
    assert best_place(["a", "c"], before["b"], after["b"]) == 1
    assert best_place(["c", "a"], before["b"], after["b"]) is None
    assert best_place(["b"], before["a"], after["a"]) == 0
