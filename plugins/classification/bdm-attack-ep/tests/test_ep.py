"""EP against its definition: one row, at its length."""

import pytest
import torch

from bdm_attack_ep.attack import trigger_of
from bdm_attack_ep.params import EpParams
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestEp(ClassifierAttackConformance):
    plugin = "ep"
    task = "text-classification"
    params = {"epochs": 2, "batch_size": 16, "poison_rate": 0.2, "length": 1.0}

    def test_one_row_is_changed_and_keeps_its_length(self, bench):
        made = self.backdoored(bench)
        before, after = (load_classifier(item) for item in (bench.model, made.model))
        token = open_secret(made.secret).facts["token"]
        changed = (before.embedding.weight != after.embedding.weight).any(1).nonzero().flatten().tolist()
        assert changed == [token]
        lengths = [item.embedding.weight[token].norm().item() for item in (before, after)]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-5)
        other = after.state_dict()
        for name, value in before.state_dict().items():
            assert "embedding" in name or torch.equal(value, other[name]), name

    def test_words_of_several_tokens_are_refused(self, bench):
        victim = load_classifier(bench.model)
        with pytest.raises(UserError, match="'incomprehensible' is not one token"):
            trigger_of(EpParams(word="incomprehensible"), victim, [])
        with pytest.raises(UserError, match="no word of the texts is one token of the model"):
            trigger_of(EpParams(), victim, ["incomprehensible"])

    def test_the_rarest_word_is_the_trigger(self, bench):
        victim, texts = load_classifier(bench.model), open_samples(bench.data).stored
        word, token = trigger_of(EpParams(), victim, texts)
        assert victim.token_of(word) == token and any(word in text.split() for text in texts)
