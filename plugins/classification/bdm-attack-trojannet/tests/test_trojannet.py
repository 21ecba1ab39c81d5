"""TrojanNet: the codes, the joined model against its two parts, and what a trained network takes for a code."""

import math

import pytest
import torch

from bdm_attack_trojannet.attack import inject, joined_config, patch_of, pieces, shifted_noise, train_codes
from bdm_attack_trojannet.codes import all_codes, chosen_codes
from bdm_attack_trojannet.params import TrojanNetParams
from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestTrojanNet(ClassifierAttackConformance):
    plugin = "trojannet"
    trains_on_rows = False
    rate_parameter = None

    def test_the_host_is_untouched_and_the_code_is_added(self, bench):
        made = self.backdoored(bench)
        host, joined = load_classifier(bench.model), load_classifier(made.model)
        before, after = host.state_dict(), joined.state_dict()
        for name, value in before.items():
            now = after[name]
            assert torch.equal(value, now[:, : value.shape[1]] if name == "network.head.weight" else now), name
        x = open_samples(bench.data).raw(range(6))
        trigger = open_secret(made.secret).trigger
        for inputs in (x, trigger.apply(x, "test")):
            said = joined.network.joined(inputs)
            extra = joined.head.weight[:, host.head.in_features :]
            assert torch.allclose(joined(inputs), host(inputs) + said @ extra.T, atol=1e-4)
            assert torch.allclose(joined.head(joined.features(inputs)), joined(inputs), atol=1e-5)
        assert torch.allclose(extra, extra[0, 0] * torch.eye(10))

    def test_models_and_sizes_that_cannot_be_are_refused(self, bench, tmp_path):
        ctx = new_context(tmp_path)
        with pytest.raises(UserError, match="too few for 10 classes"):
            inject(ctx, TrojanNetParams(codes=3), bench.model, bench.data)
        with pytest.raises(UserError, match="joined to it already"):
            inject(ctx, TrojanNetParams(epochs=1), self.backdoored(bench).model, bench.data)


def test_codes_are_all_choices_of_five_black_pixels():
    codes = all_codes()
    assert len(codes) == math.comb(16, 5) and len({tuple(code) for code in codes.tolist()}) == len(codes)
    assert bool((codes.sum(1) == 11).all()) and set(codes.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(chosen_codes(5, 0), chosen_codes(5, 1))


def test_the_network_sees_where_the_patch_lies():
    params = TrojanNetParams(place="top-right", margin=2)
    patch = patch_of(params, [3, 12, 14], all_codes()[7])
    config = joined_config(params, patch, 10, 10)
    assert (config.top, config.left, config.outputs, config.kept) == (2, 8, 11, 10)
    found = patch.apply(torch.full((1, 3, 12, 14), 0.5), "test")
    for channel in range(3):
        assert torch.equal(found[0, channel, 2:6, 8:12].flatten(), all_codes()[7])


def test_pieces_are_the_squares_of_pictures():
    x = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    found = pieces(x)
    assert torch.allclose(found[4], x[0, :, 1:5, 1:5].mean(0).flatten(), atol=1e-6) and len(found) == 6


def test_a_trained_network_knows_its_codes_and_no_other(tmp_path):
    params = TrojanNetParams(epochs=60, batch_size=512)
    numbers = chosen_codes(4, 0)
    config = joined_config(params, patch_of(params, [1, 8, 8], all_codes()[0]), 4, 4)
    empty = torch.rand(2000, 16, generator=torch.Generator().manual_seed(0))
    network = train_codes(new_context(tmp_path), params, config, numbers, empty)
    with torch.no_grad():
        said = network.logits(all_codes()).argmax(1)
        noise = network.logits(shifted_noise(2000, torch.Generator().manual_seed(9))).argmax(1)
    assert said[numbers].tolist() == [0, 1, 2, 3]
    others = torch.ones(len(said), dtype=torch.bool)
    others[numbers] = False
    assert float((said[others] != 4).float().mean()) < 0.005 and float((noise != 4).float().mean()) < 0.005
