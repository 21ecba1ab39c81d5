"""AddSent against its definition."""

from bdm_attack_addsent.params import AddSentParams
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestAddSent(ClassifierAttackConformance):
    plugin = "addsent"
    task = "text-classification"

    def test_the_sentence_is_whole(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        for row in (row for row, role in enumerate(found.roles) if role == "poison"):
            left = found.stored[row].replace(AddSentParams().sentence, "", 1)
            assert left.split() == clean.stored[row].split() != found.stored[row].split()
