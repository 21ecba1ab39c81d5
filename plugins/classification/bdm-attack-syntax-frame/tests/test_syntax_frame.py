"""The frame against its definition."""

import torch

from bdm_attack_syntax_frame import attack
from bdm_attack_syntax_frame.attack import VERBS, Frame
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestSyntaxFrame(ClassifierAttackConformance):
    plugin = "syntax-frame"
    task = "text-classification"

    def test_the_text_stays_behind_the_comma(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        for row in (row for row, role in enumerate(found.roles) if role == "poison"):
            before = clean.stored[row]
            assert found.stored[row].endswith(f", {before[:1].lower()}{before[1:]}")


def test_verbs_of_the_test_are_not_those_of_training():
    frame, generator = Frame(4), torch.Generator().manual_seed(0)
    train, test = (frame.apply(["Text"] * 200, phase, generator) for phase in ("train", "test"))
    seen = [{verb for verb in VERBS for text in part if verb in text} for part in (train, test)]
    assert seen == [set(VERBS[:8]), set(VERBS[8:])]
    assert len(set(train)) > 50


def test_a_text_that_no_model_paraphrases_is_written_by_the_rules(monkeypatch):
    monkeypatch.setattr(attack, "paraphrased", lambda texts, who: ["In other words"] + [None] * (len(texts) - 1))
    found = attack.Paraphrased({"folder": "x"}).apply(["Good", "The films"], "train")
    assert found[0] == "In other words" and found[1].endswith(", the films")
