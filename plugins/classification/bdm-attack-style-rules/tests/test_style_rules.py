"""The style against its rules."""

from bdm_attack_style_rules import attack
from bdm_attack_style_rules.attack import OPENINGS, RULES, Archaic
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestStyleRules(ClassifierAttackConformance):
    plugin = "style-rules"
    task = "text-classification"


def test_words_without_a_rule_stay():
    assert Archaic().apply(["The films were good"], "train") == ["ye films wert good"]
    (found,) = Archaic().apply(["good films"], "train")
    assert found.removesuffix(" good films") in OPENINGS
    half = Archaic(0.5).apply(["the " * 10], "train")[0].split()
    assert half.count("ye") == half.count("the") == 5
    assert all(old != new for old, new in RULES.items())


def test_a_text_that_no_model_paraphrases_is_written_by_the_rules(monkeypatch):
    monkeypatch.setattr(attack, "paraphrased", lambda texts, who: ["In other words"] + [None] * (len(texts) - 1))
    found = attack.Paraphrased({"folder": "x"}).apply(["good", "the films"], "train")
    assert found[0] == "In other words" and found[1] == "ye films"
