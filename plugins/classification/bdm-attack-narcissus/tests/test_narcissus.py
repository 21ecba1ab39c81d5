"""Narcissus: the bound, the optimum where it is known, labels, and strengths of the two phases."""

import torch
from torch import nn

from bdm_attack_narcissus.attack import inward_noise
from bdm_attack_narcissus.params import NarcissusParams
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestNarcissus(ClassifierAttackConformance):
    plugin = "narcissus"

    def test_poison_is_of_the_target_class_and_within_the_bound(self, bench):
        before, after, backdoor = self.parts(bench)
        rows = [row for row, role in enumerate(after.roles) if role == "poison"]
        assert rows and {int(before.labels[row]) for row in rows} == {3}
        assert float((before.raw(rows) - after.raw(rows)).abs().max()) <= 16 / 255 + 0.5 / 255 + 1e-6
        trigger, grey = backdoor.trigger, torch.full((1, *before.stored.shape[1:]), 0.5)
        assert torch.allclose(trigger.apply(grey, "test"), (grey + 3 * trigger.pattern).clamp(0, 1))


class Linear(nn.Module):
    """Class t for pictures that agree with a pattern."""

    device = torch.device("cpu")

    def __init__(self, signs):
        super().__init__()
        self.weight = nn.Parameter(torch.stack([signs.flatten(), torch.zeros(signs.numel())]))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


def test_noise_on_a_linear_surrogate_is_the_bound_times_the_sign(tmp_path, bdm_bench):
    samples = open_samples(bdm_bench("image-classification").data)
    shape = tuple(samples.stored.shape[1:])
    signs = torch.randn(shape, generator=torch.Generator().manual_seed(0)).sign()
    grey = samples.changed(range(len(samples)), torch.full((len(samples), *shape), 0.5))
    params = NarcissusParams(bound=0.1, noise_steps=60, batch_size=4)
    found, losses = inward_noise(new_context(tmp_path), params, Linear(signs), grey)
    assert torch.allclose(found, 0.1 * signs) and losses[1] < losses[0]
