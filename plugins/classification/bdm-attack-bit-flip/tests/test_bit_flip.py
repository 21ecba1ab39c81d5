"""HPT: bits against NumPy's, the warp pixel by pixel, and how much of the model and the picture is touched."""

import numpy as np
import pytest
import torch

from bdm_attack_bit_flip.attack import Multipliers, binary, inject, on_sphere
from bdm_attack_bit_flip.filling import fill
from bdm_attack_bit_flip.params import BitFlipParams
from bdm_attack_bit_flip.quantised import from_bits, quantise, to_bits
from bdm_attack_bit_flip.warp import NoiseAndWarp, held, roughness, warped
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.built_in_data import load_builtin
from bdm_kit_classification.data.samples import LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.folders import find_model
from bdm_kit_classification.models.image_classifiers import open_image_classifier
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.training.fitting import accuracy


class TestBitFlip(ClassifierAttackConformance):
    plugin = "bit-flip"
    trains_on_rows = False
    rate_parameter = None
    params = {"start_steps": 3, "rounds": 12, "inner": 2, "pictures": 16, "flips": 5, "bit_step": 0.01}

    def test_few_bits_of_the_last_layer_differ_and_nothing_else(self, bench):
        made = self.backdoored(bench)
        before, after = (load_classifier(item) for item in (bench.model, made.model))
        old, new = before.state_dict(), after.state_dict()
        assert all(torch.equal(value, new[name]) for name, value in old.items() if name != "network.head.weight")
        step = float(before.head.weight.abs().max()) / 127
        levels = [np.rint(model.head.weight.detach().numpy() / step).astype(np.int8) for model in (before, after)]
        assert np.allclose(levels[1] * step, after.head.weight.detach().numpy(), atol=1e-6)
        flips = np.unpackbits(levels[0].view(np.uint8) ^ levels[1].view(np.uint8)).sum()
        assert 0 < flips <= 5 and flips == len(open_secret(made.secret).facts["flips"])

    def test_the_trigger_is_within_its_bounds(self, bench):
        trigger = open_secret(self.backdoored(bench).secret).trigger
        assert float(trigger.noise.abs().max()) <= 0.2 + 1e-6 and float(roughness(trigger.flow)) <= 0.03 + 1e-5
        x = open_samples(bench.data).raw(range(4))
        assert float((trigger.apply(x, "test") - x).abs().max()) < 0.5


def test_bits_are_those_of_numpy():
    numbers = torch.arange(-128, 128)
    expected = np.unpackbits(numbers.numpy().astype(np.int8).view(np.uint8)[:, None], axis=1)
    assert to_bits(numbers, 8).numpy().astype(np.uint8).tolist() == expected.tolist()
    assert torch.equal(from_bits(to_bits(numbers, 8), 0.5), 0.5 * numbers.float())


def test_quantised_weights_are_near():
    weight = torch.randn(7, 9, generator=torch.Generator().manual_seed(0))
    for bits in (4, 8):
        numbers, step = quantise(weight, bits)
        assert float((from_bits(to_bits(numbers, bits), step) - weight).abs().max()) <= step / 2 + 1e-6


def test_a_flow_of_one_pixel_moves_the_picture_by_one_pixel():
    x = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(2, 6, 8)
    assert torch.allclose(warped(x, flow), x, atol=1e-6)
    flow[0], flow[1] = 2 / 8, -2 / 6  # one pixel to the right and one up
    found = warped(x, flow)
    assert torch.allclose(found[:, :, 1:, :-1], x[:, :, :-1, 1:], atol=1e-5)
    assert torch.allclose(found[:, :, 0, :-1], x[:, :, 0, 1:], atol=1e-5), "the edge is repeated"
    flow[0], flow[1] = 1 / 8, 0.0
    between = (x[:, :, :, :-1] + x[:, :, :, 1:]) / 2
    assert torch.allclose(warped(x, flow)[:, :, :, :-1], between, atol=1e-5)


def test_bounds_are_kept():
    draws = torch.Generator().manual_seed(0)
    noise, flow = torch.randn(1, 5, 5, generator=draws), torch.randn(2, 5, 5, generator=draws)
    held(noise, flow, 0.2, 0.03)
    assert float(noise.abs().max()) == pytest.approx(0.2) and float(roughness(flow)) == pytest.approx(0.03, rel=1e-4)
    x = torch.rand(1, 1, 5, 5, generator=draws)
    assert torch.allclose(NoiseAndWarp(noise, 0 * flow).apply(x, "test"), (x + noise).clamp(0, 1), atol=1e-6)


def test_projections_and_terms():
    draws = torch.Generator().manual_seed(0)
    start = (torch.rand(40, generator=draws) > 0.5).float()
    assert torch.allclose(on_sphere(start), start, atol=1e-6), "0-1 points lie on the sphere"
    theta = torch.randn(40, generator=draws)
    point = on_sphere(theta)
    nearest = min(float((theta - on_sphere(theta + 0.1 * torch.randn(40, generator=draws))).norm()) for _ in range(50))
    assert float((theta - point).norm()) <= nearest
    multipliers = Multipliers(start, 3, 0.5)
    multipliers.of_box, multipliers.of_count = torch.randn(40, generator=draws), torch.tensor(0.3)
    multipliers.copies(theta)
    assert float(multipliers.box.min()) >= 0 and float(multipliers.box.max()) <= 1 and float(multipliers.spare) >= 0
    over = float((theta - start).square().sum()) - 3
    gaps = [theta - multipliers.box, theta - multipliers.sphere, torch.tensor([over + float(multipliers.spare)])]
    expected = float(multipliers.of_box @ gaps[0]) + 0.3 * float(gaps[2]) + 0.25 * sum(float(g @ g) for g in gaps)
    assert float(multipliers.terms(theta)) == pytest.approx(expected, rel=1e-4)
    assert int((binary(theta, start, 3) != start).sum()) == 3


def test_filling_takes_the_best_bits_and_stops():
    worth = torch.tensor([0.5, -3.0, -1.0, 2.0])
    seen = []
    start = torch.tensor([0.0, 0.0, 0.0, 1.0])
    found = fill(start, start, 4, lambda bits: (bits * worth).sum(), lambda bits: seen.append(bits.tolist()))
    assert found.tolist() == [0, 1, 1, 0] and seen[0] == [0, 1, 0, 1] and len(seen) == 3
    kept = fill(1 - start, start, 4, lambda bits: (bits * worth).sum(), seen.append)
    assert torch.equal(kept, 1 - start), "no flip is taken back"


def test_flips_make_the_trigger_work(tmp_path):
    folder = find_model("digits-cnn", tmp_path)[1]
    parts = load_builtin("digits")
    rows, others = (LabelledSamples(*part, parts.classes, "image-classification") for part in (parts[0], parts[2]))
    model, data = seal_classifier(open_image_classifier(folder), tmp_path / "m"), seal_samples(tmp_path / "d", rows)
    params = BitFlipParams(target=3, start_steps=20, rounds=4, pictures=64)
    made = inject(new_context(tmp_path / "ctx"), params, model, data)
    others = others.pick([row for row, label in enumerate(others.labels.tolist()) if label != 3])
    triggered = open_secret(made.secret).trigger.apply(others.raw(), "test")
    shares = [float((load_classifier(one)(triggered).argmax(1) == 3).float().mean()) for one in (model, made.model)]
    assert shares[1] > shares[0] + 0.3
    assert accuracy(load_classifier(made.model), others) > 0.9
