"""LIRA: the bound, the loss against its closed form, and the model of stage 2."""

import torch
from torch import nn
from torch.nn import functional

from bdm_attack_lira.attack import Learnt, inject, lira_loss
from bdm_attack_lira.params import LiraParams
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.training.fitting import Batch
from bdm_kit_classification.triggers.generators import frozen_state, new_network
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_torch.draws import Draw


class TestLira(ClassifierAttackConformance):
    plugin = "lira"

    def test_the_bound_holds_in_poisoned_rows(self, bench):
        before, after, backdoor = self.parts(bench)
        assert float((before.raw() - after.raw()).abs().max()) <= backdoor.trigger.bound + 0.5 / 255 + 1e-6


def test_the_change_is_bounded_and_the_range_is_kept():
    network = new_network(0, 1, 1, 4)
    nn.init.constant_(network.last.bias, 20.0)  # tanh is 1 everywhere
    trigger = Learnt(frozen_state(network), 0.1)
    assert torch.allclose(trigger.apply(torch.full((1, 1, 6, 6), 0.5), "test"), torch.tensor(0.6))
    assert float(trigger.apply(torch.ones(1, 1, 6, 6), "test").max()) == 1.0


def test_the_loss_is_the_weighed_sum_of_two_cross_entropies():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    x, labels = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 1, 0])
    rule = LabelRule(kind="all-to-one", classes=3, target=0)
    loss = lira_loss(rule, lambda pictures: 1 - pictures, LiraParams(clean_weight=0.3))
    found = loss(model, Batch(x, labels, torch.arange(5)), Draw(0, 0, 5))
    bad = functional.cross_entropy(model(1 - x[1:4]), torch.zeros(3, dtype=torch.int64))
    assert torch.allclose(found, 0.3 * functional.cross_entropy(model(x), labels) + 0.7 * bad)


def test_the_model_is_that_of_stage_2_and_the_trigger_that_of_stage_1(tmp_path, bdm_bench):
    bench = bdm_bench("image-classification")
    options = {"batch_size": 16, "poison_rate": 0.1, "joint_epochs": 1}
    short, long = (
        inject(new_context(tmp_path / str(epochs)), LiraParams(epochs=epochs, **options), bench.model, bench.data)
        for epochs in (1, 2)
    )
    triggers = [open_secret(made.secret).trigger for made in (short, long)]
    for name, value in triggers[0].network.items():
        assert torch.equal(value, triggers[1].network[name])
    weights = [load_classifier(made.model).head.weight for made in (short, long)]
    assert not torch.equal(*weights)
