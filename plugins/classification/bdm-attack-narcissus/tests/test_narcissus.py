"""Narcissus: the bound, the optimum where it is known, labels, and strengths of the two phases."""

import pytest
import torch
from torch import nn

from bdm_attack_narcissus.attack import inward_noise
from bdm_attack_narcissus.params import NarcissusParams
from bdm_attack_narcissus.plugin import Narcissus
from bdm_attack_narcissus.surrogate import fitted, joint_rows, train_on_other_data
from bdm_core.errors import UserError
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


class TestOtherData(ClassifierAttackConformance):
    plugin = "narcissus"
    params = {**Narcissus.tiny_params, "auxiliary": "tiny", "warm_epochs": 1}


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
    found, losses = inward_noise(new_context(tmp_path), params, Linear(signs), grey, 0)
    assert torch.allclose(found, 0.1 * signs) and losses[1] < losses[0]


def test_the_surrogate_sees_other_data_and_the_target_class_and_nothing_else(tmp_path, bdm_bench):
    samples = open_samples(bdm_bench("image-classification").data)
    found = joint_rows("digits", samples, 3, new_context(tmp_path))
    own = samples.rows_of_class(3)
    assert len(found) == 1300 + len(own) and found.classes == [*(str(digit) for digit in range(10)), "target"]
    assert found.rows_of_class(10) == list(range(1300, len(found)))
    assert torch.equal(found.raw(range(1300, len(found))), samples.raw(own))
    hidden = samples.changed([], None, dict.fromkeys(own, 4))
    with pytest.raises(UserError, match="none of the target class 3"):
        joint_rows("digits", hidden, 3, new_context(tmp_path / "b"))


def test_the_surrogate_knows_the_target_class_as_one_more(tmp_path, bdm_bench):
    samples = open_samples(bdm_bench("image-classification").data)
    bright = samples.changed(samples.rows_of_class(3), torch.ones(len(samples.rows_of_class(3)), 1, 8, 8))
    params = NarcissusParams(auxiliary="tiny", target=3, surrogate_epochs=30, warm_epochs=2, batch_size=16)
    surrogate, number = train_on_other_data(new_context(tmp_path), params, bright)
    with torch.no_grad():
        said = surrogate(bright.raw(bright.rows_of_class(3))).argmax(1)
    assert number == 10 and said.tolist() == [10] * len(said)


def test_pictures_of_other_forms_are_fitted():
    colours = torch.tensor([30, 60, 90], dtype=torch.uint8)[None, :, None, None].expand(2, 3, 6, 6)
    assert fitted(colours, (1, 9, 4)).unique().tolist() == [60]
    grey = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6)
    assert torch.equal(fitted(grey, (3, 6, 6)), grey.expand(1, 3, 6, 6))
    smaller = fitted(torch.cat([torch.zeros(1, 1, 8, 4), torch.full((1, 1, 8, 4), 200)], 3).to(torch.uint8), (1, 2, 2))
    assert smaller[0, 0, :, 0].max() < 50 and smaller[0, 0, :, 1].min() > 150
