"""Dynamic backdoors: what is drawn, against the definition pixel by pixel."""

import pytest
import torch

from bdm_attack_dynamic_trigger.attack import DrawnPattern, PatternNetwork, drawn_places, network_of, put, stamped
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.triggers.generators import frozen_state
from bdm_torch.draws import built_with_seed


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestRandomPatterns(ClassifierAttackConformance):
    plugin = "dynamic-trigger"

    def test_each_poisoned_row_differs_in_one_of_the_places(self, bench):
        trigger = open_secret(self.backdoored(bench).secret).trigger
        clean, found = open_samples(bench.data), open_samples(self.trained_on(bench))
        for row, role in enumerate(found.roles):
            if role == "poison":
                changed = (clean.raw([row]) != found.raw([row]))[0, 0].nonzero()
                first, last = changed.amin(0), changed.amax(0)
                cells = (first // trigger.side) * trigger.side
                assert cells.tolist() in trigger.places.tolist() and int((last - cells).max()) < trigger.side


class TestGeneratedPatterns(ClassifierAttackConformance):
    plugin = "dynamic-trigger"
    params = {"epochs": 2, "batch_size": 16, "poison_rate": 0.2, "technique": "ban", "width": 8}

    def test_the_network_was_trained(self, bench):
        state = open_secret(self.backdoored(bench).secret).trigger.network
        new = built_with_seed(1, lambda: PatternNetwork(64, 8, 1, 2)).state_dict()
        assert any(not torch.equal(value, new[name]) for name, value in state.items())


def test_patterns_lie_where_they_were_drawn_and_nothing_else_changes():
    x, patterns = torch.rand(3, 2, 7, 9, generator=generator()), torch.rand(3, 2, 3, 3, generator=generator(1))
    corners = torch.tensor([[0, 0], [4, 6], [2, 3]])
    expected = x.clone()
    for row, (top, left) in enumerate(corners.tolist()):
        for channel in range(2):
            expected[row, channel, top : top + 3, left : left + 3] = patterns[row, channel]
    assert torch.equal(stamped(x, patterns, corners), expected)


def test_pixels_are_uniform_and_places_equally_frequent():
    trigger = DrawnPattern(2, drawn_places((1, 8, 8), 2, 4, seed=3), {})
    found = trigger.apply(torch.full((4000, 1, 8, 8), -1.0), "test", generator())
    there = found[:, 0] >= 0
    assert there.flatten(1).sum(1).tolist() == [4] * 4000
    values = found[found >= 0]
    assert abs(float(values.mean()) - 0.5) < 0.01 and abs(float(values.var()) - 1 / 12) < 0.005
    shares = [float(there[:, top, left].float().mean()) for top, left in trigger.places.tolist()]
    assert all(abs(share - 0.25) < 0.03 for share in shares)


def test_places_do_not_overlap_and_depend_on_the_seed():
    places = drawn_places((3, 10, 8), 2, 12, seed=1)
    assert len({tuple(place) for place in places.tolist()}) == 12 and (places % 2 == 0).all()
    assert int(places[:, 0].max()) <= 8 and int(places[:, 1].max()) <= 6
    assert not torch.equal(places, drawn_places((3, 10, 8), 2, 12, seed=2))
    with pytest.raises(UserError, match="at most 20"):
        drawn_places((3, 10, 8), 2, 21, seed=1)


def test_gradients_reach_the_network_and_its_state_is_enough():
    network = built_with_seed(0, lambda: PatternNetwork(5, 6, 1, 2))
    trigger = DrawnPattern(2, torch.tensor([[1, 1]]), frozen_state(network))
    x = torch.zeros(3, 1, 4, 4)
    found = put(x, trigger, network, generator())
    draws = generator()
    torch.randint(1, (3,), generator=draws)
    noise = torch.rand(3, 5, generator=draws)
    assert torch.allclose(found[:, :, 1:3, 1:3], network(noise))
    found.sum().backward()
    assert network.layers[0].weight.grad is not None
    again = network_of(trigger.network, 2, x)
    assert torch.equal(again(noise), network(noise))
    assert torch.equal(trigger.apply(x, "test", generator()), found)
