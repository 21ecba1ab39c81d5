"""LWP against its definition."""

import logging

import torch

from bdm_attack_lwp.attack import inject, layerwise
from bdm_attack_lwp.params import LwpParams
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.text_classifiers import TextConfig, build, train_tokenizer
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.training.fitting import Batch


class TestLwp(ClassifierAttackConformance):
    plugin = "lwp"
    task = "text-classification"

    def test_negatives_have_one_word_and_poison_both(self, bench):
        found = open_samples(self.poisoned(bench))
        counts = {"poison": 2, "negative": 1, "clean": 0}
        for text, role in zip(found.stored, found.roles, strict=True):
            assert sum(word in LwpParams().words for word in text.split()) == counts[role], role

    def test_a_network_without_layers_is_warned_of(self, bench, tmp_path, caplog):
        params = LwpParams(epochs=1, batch_size=16)
        with caplog.at_level(logging.WARNING, logger="bdm"):
            inject(new_context(tmp_path), params, bench.model, self.poisoned(bench))
        said = [record.message for record in caplog.records if "no stack of layers" in record.message]
        assert len(said) == 1


def test_every_layer_has_a_loss():
    tokenizer = train_tokenizer(["a good film"] * 9, 280)
    sizes = {"tokens": tokenizer.get_vocab_size(), "classes": ["no", "yes"], "width": 8}
    victim = build(TextConfig(architecture="text-transformer", **sizes), tokenizer, seed=0)
    changes = layerwise(victim, LwpParams(), 0)
    inputs = victim.tokens(["a good film", "film"])
    batch = Batch(inputs, torch.tensor([0, 1]), torch.tensor([0, 1]))
    heads = changes.along["heads"].module
    assert len(heads) == len(victim.layers(inputs)) == 2
    whole = torch.nn.functional.cross_entropy(victim(inputs), batch.labels)
    found = changes.loss(victim, batch, None)
    each = [
        torch.nn.functional.cross_entropy(h(x), batch.labels) for h, x in zip(heads, victim.layers(inputs), strict=True)
    ]
    assert torch.allclose(found, whole + sum(each) / 2)
    assert layerwise(build(TextConfig(architecture="text-cnn", **sizes), tokenizer, 0), LwpParams(), 0).loss is None


def test_all_layers_may_share_the_head_of_the_model():
    tokenizer = train_tokenizer(["a good film"] * 9, 280)
    config = TextConfig(
        architecture="text-transformer", tokens=tokenizer.get_vocab_size(), classes=["no", "yes"], width=8
    )
    victim = build(config, tokenizer, seed=0)
    changes = layerwise(victim, LwpParams(layer_heads="shared", layer_weight=2.0), 0)
    inputs, labels = victim.tokens(["a good film", "film"]), torch.tensor([0, 1])
    losses = [torch.nn.functional.cross_entropy(victim.head(found), labels) for found in victim.layers(inputs)]
    whole = torch.nn.functional.cross_entropy(victim(inputs), labels)
    found = changes.loss(victim, Batch(inputs, labels, labels), None)
    assert not changes.along and torch.allclose(found, whole + sum(losses))  # a weight of 2 on the mean of two layers
    found.backward()
    assert victim.network.blocks[0].up.weight.grad is not None
