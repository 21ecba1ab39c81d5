"""TrojanNN: the neurons, the mask, and a patch that is the best one where that is known."""

import pytest
import torch
from torch import nn

from bdm_attack_trojannn.attack import Activations, best_connected, blank_patch, exciting_patch
from bdm_attack_trojannn.params import TrojanNNParams
from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestTrojanNN(ClassifierAttackConformance):
    plugin = "trojannn"

    def test_the_units_are_more_excited_by_the_patch(self, bench):
        facts = open_secret(self.backdoored(bench).secret).facts
        assert facts["activation"][1] > facts["activation"][0] and len(facts["units"]) == 2


def test_units_have_the_largest_incoming_weights():
    layer = nn.Conv2d(2, 5, 3)
    sums = [float(layer.weight[unit].abs().sum()) for unit in range(5)]
    assert best_connected(layer, 5) == sorted(range(5), key=lambda unit: -sums[unit])


def test_activations_are_the_largest_of_each_unit():
    layer = nn.Conv2d(1, 3, 1)
    x = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    with Activations(layer, [2, 0]) as seen:
        output = layer(x)
    assert torch.equal(seen.value, torch.stack([output[:, 2].amax((1, 2)), output[:, 0].amax((1, 2))], 1))
    layer(x + 1)
    assert torch.equal(seen.value[:, 0], output[:, 2].amax((1, 2))), "the hook is gone"


def test_the_mask_is_a_disc_and_pixels_outside_of_it_stay():
    disc = blank_patch(TrojanNNParams(size=7, place="top-left", margin=0), [3, 28, 28])
    distance = [((row - 3) ** 2 + (column - 3) ** 2) ** 0.5 for row in range(7) for column in range(7)]
    assert disc.mask.sum() == sum(one <= 3.5 for one in distance) and disc.mask[0, 0, 0] == 0
    x = torch.rand(1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    outside = disc.mask == 0
    assert torch.equal(disc.apply(x, "test")[:, :, outside[0]], x[:, :, outside[0]])
    assert blank_patch(TrojanNNParams(size=0.25, shape="square"), [1, 28, 28]).mask.sum() == 49


def test_the_patch_is_white_where_a_neuron_counts_white_pixels(tmp_path, bdm_bench):
    bench = bdm_bench("image-classification")
    classifier = load_classifier(bench.model).requires_grad_(False)
    layers = classifier.prunable_layers()
    signs = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0], [1.0, -1.0, 1.0]])
    layers[0].layer.weight[0] = 1000 * signs  # by far the best connected: bright where positive, dark where negative
    params = TrojanNNParams(neurons=1, layer=-len(layers), size=3, shape="square", margin=2, wanted=1e9)
    patch, facts = exciting_patch(new_context(tmp_path), classifier, blank_patch(params, [1, 8, 8]), params)
    assert facts["units"] == [0]
    assert torch.equal(patch.pattern[0, 3:6, 3:6], (signs > 0).float())
    with pytest.raises(UserError, match="prunable layers"):
        exciting_patch(new_context(tmp_path / "b"), classifier, patch, TrojanNNParams(layer=-99))
