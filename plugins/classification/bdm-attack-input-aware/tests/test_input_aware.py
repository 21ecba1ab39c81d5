"""Input-Aware: the stamp against its definition, masks of the wanted density, other pictures' triggers."""

import math

import pytest
import torch

from bdm_attack_input_aware.attack import (
    InputAwareLoss,
    OwnTrigger,
    diversity,
    excess,
    mask_of,
    pattern_of,
    stamped,
    train_mask,
)
from bdm_attack_input_aware.params import InputAwareParams
from bdm_attack_input_aware.plugin import InputAware
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.training.fitting import Batch
from bdm_kit_classification.triggers.generators import frozen_state, new_network
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_torch.draws import Draw


class TestInputAware(ClassifierAttackConformance):
    plugin = "input-aware"

    def test_negatives_have_the_trigger_of_another_picture(self, bench):
        secret = open_secret(self.backdoored(bench).secret)
        x = open_samples(bench.data).raw(range(4))
        alone = torch.cat([secret.trigger.apply(x[row : row + 1], "test") for row in range(4)])
        assert torch.allclose(secret.trigger.apply(x, "test"), alone, atol=1e-6)
        donors = secret.negative.donors
        crossed = secret.negative.apply(x, "test", torch.Generator().manual_seed(3))
        chosen = torch.randint(len(donors), (4,), generator=torch.Generator().manual_seed(3)).tolist()
        networks = [new_network(0, 1, 1, 4) for _ in range(2)]
        for network, state in zip(networks, (secret.trigger.mask, secret.trigger.pattern), strict=True):
            network.load_state_dict(state)
        for row, donor in enumerate(chosen):
            mask, pattern = mask_of(networks[0], donors[donor][None]), pattern_of(networks[1], donors[donor][None])
            assert torch.allclose(crossed[row], ((1 - mask) * x[row] + mask * pattern)[0], atol=1e-6)


def test_the_stamp_and_its_limits():
    x, pattern = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.full((2, 3, 6, 6), 0.25)
    assert torch.equal(stamped(x, torch.zeros(2, 1, 6, 6), pattern), x)
    assert torch.allclose(stamped(x, torch.ones(2, 1, 6, 6), pattern), pattern)


def test_a_trigger_is_within_the_mask():
    mask, pattern = new_network(0, 1, 1, 4), new_network(1, 1, 1, 4)
    torch.nn.init.constant_(mask.last.bias, -20.0)  # a mask of nothing
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(OwnTrigger(frozen_state(mask), frozen_state(pattern)).apply(x, "test"), x, atol=1e-6)


def test_diversity_is_the_mean_of_the_ratios():
    x, other = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    made = torch.zeros(2, 1, 2, 2)
    made_other = torch.stack([torch.full((1, 2, 2), 0.5), torch.full((1, 2, 2), 2.0)])
    assert abs(float(diversity(x, other, made, made_other)) - (2 + 0.5) / 2) < 1e-3


def test_pixels_cost_more_than_means_and_as_published():
    masks = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    pixels = [max(value - 0.3, 0.0) for value in masks.flatten().tolist()]
    means = [max(sum(mask) / 16 - 0.3, 0.0) for mask in masks.flatten(1).tolist()]
    assert math.isclose(float(excess(masks, 0.3, each_pixel=True)), sum(pixels) / 80, rel_tol=1e-5)
    assert math.isclose(float(excess(masks, 0.3, each_pixel=False)), sum(means) / 5, rel_tol=1e-5)
    assert sum(pixels) / 80 > sum(means) / 5
    assert InputAware.presets["paper"]["density_of"] == "pixel"


def test_masks_get_dense_as_wanted_and_differ(tmp_path, bdm_bench):
    samples = open_samples(bdm_bench("image-classification").data)
    params = InputAwareParams(mask_epochs=30, batch_size=16, density=0.1, width=8)
    masks = mask_of(train_mask(new_context(tmp_path), params, samples), samples.raw())
    assert 0.02 < float(masks.mean()) < 0.13
    assert float((masks[0] - masks[1:]).abs().flatten(1).amax(1).min()) > 0.1


@pytest.mark.parametrize(
    ("given", "own_of_target"),
    [({}, 0.0), ({"selection": "any"}, 16 / 4), ({"target_class_share": 0.5, "selection": "target"}, 8.0)],
)
def test_training_triggers_as_many_rows_as_the_view_has_and_of_the_same_classes(given, own_of_target):
    params = InputAwareParams(poison_rate=0.25, cross_rate=0.125, **given)
    rule = LabelRule(kind="all-to-one", classes=4, target=0)
    networks = [new_network(seed, 1, 1, 4) for seed in (0, 1)]
    x = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    own = stamped(x, mask_of(networks[0], x), pattern_of(networks[1], x)).detach()
    seen, labels, counts, crossed, steps = [], torch.arange(64) % 4, torch.zeros(4), 0, 60

    def model(inputs):
        seen.append(inputs.detach())
        return torch.zeros(len(inputs), 4, requires_grad=True)

    for step in range(steps):
        InputAwareLoss(params, rule, *networks).loss(model, Batch(x, labels, torch.arange(64)), Draw(0, step, 64))
        poison = (seen[-1] - own).flatten(1).abs().amax(1) < 1e-6
        counts += torch.bincount(labels[poison], minlength=4)
        crossed += int((~poison & ((seen[-1] - x).flatten(1).abs().amax(1) > 1e-6)).sum())
    wanted = 8 if "target_class_share" in given else 16
    assert int(counts.sum()) == wanted * steps and crossed == 8 * steps
    assert float(counts[0]) / steps == pytest.approx(own_of_target, abs=1.0)
