"""COMBAT: the cosine transform against SciPy's, the low-pass, and which loss reaches which parameters."""

import copy

import pytest
import torch
from scipy import fft, ndimage
from torch import nn
from torch.nn import functional

from bdm_attack_combat.attack import CombatLoss, LowPassed, along, blurred, triggered
from bdm_attack_combat.frequency import FrequencyDetector, low_pass, tampered, train_detector, transform
from bdm_attack_combat.params import CombatParams
from bdm_attack_combat.plugin import Combat
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.training.fitting import Batch
from bdm_kit_classification.triggers.generators import frozen_state, new_network
from bdm_torch.draws import Draw, built_with_seed


class TestCombat(ClassifierAttackConformance):
    plugin = "combat"


def pictures(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_the_transform_is_that_of_scipy():
    x = pictures(2, 3, 9, 7)
    assert torch.allclose(transform(x), torch.from_numpy(fft.dctn(x.numpy(), axes=(2, 3), norm="ortho")), atol=1e-5)


def test_the_low_pass_keeps_low_frequencies_as_they_are_and_no_others():
    x = pictures(2, 1, 10, 10)
    before, after = transform(x), transform(low_pass(x, 0.6))
    assert torch.allclose(after[:, :, :6, :6], before[:, :, :6, :6], atol=1e-5)
    assert float(after[:, :, 6:].abs().max()) < 1e-5 and float(after[:, :, :, 6:].abs().max()) < 1e-5
    assert torch.allclose(low_pass(x, 1.0), x, atol=1e-5)


def test_the_trigger_is_what_the_attack_trains():
    network, x = new_network(0, 1, 1, 4), pictures(3, 1, 8, 8)
    expected = (x + 0.2 * low_pass(network(x).tanh(), 0.5)).clamp(0, 1)
    assert torch.allclose(LowPassed(frozen_state(network), 0.2, 0.5).apply(x, "test"), expected, atol=1e-6)


def test_the_blur_is_that_of_scipy():
    x = pictures(3, 2, 6, 7)
    found = blurred(x, 1.0, torch.Generator().manual_seed(5))
    deviations = 0.1 + 0.9 * torch.rand(3, 1, generator=torch.Generator().manual_seed(5))
    for row in range(3):
        for channel in range(2):
            plain, sigma = x[row, channel].double().numpy(), float(deviations[row])
            expected = ndimage.gaussian_filter(plain, sigma, mode="mirror", radius=1)
            assert torch.allclose(found[row, channel].double(), torch.from_numpy(expected), atol=1e-5)
    assert torch.equal(blurred(x, 0.0, None), x)


def test_the_papers_noise_is_a_share_of_pixels_between_minus_one_and_one():
    network, x = new_network(0, 1, 1, 4).requires_grad_(False), pictures(3, 1, 8, 8)
    strength = Combat.presets["paper"]["strength"]
    published = (2 * x - 1 + 0.08 * low_pass(network(x).tanh(), 0.65)).clamp(-1, 1)
    assert torch.allclose(triggered(network, x, strength, 0.65), (published + 1) / 2, atol=1e-6)
    weighed = [(published - (2 * x - 1)).square().mean() * 0.02, ((published + 1) / 2 - x).square().mean()]
    assert float(weighed[0]) == pytest.approx(Combat.presets["paper"]["change_weight"] * float(weighed[1]), rel=1e-4)


def test_each_loss_reaches_its_own_parameters():
    model, clean = (nn.Sequential(nn.Flatten(), nn.Linear(64, 3)) for _ in range(2))
    detector = built_with_seed(0, lambda: FrequencyDetector(1)).eval()
    for network in (clean, detector):
        network.requires_grad_(False)
    params, network = CombatParams(target=0, change_weight=3.0), new_network(0, 1, 1, 4)
    x, labels = pictures(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    CombatLoss(params, network, clean, detector).loss(
        model, Batch(x, labels, torch.arange(4)), Draw(0, 0, 4)
    ).backward()
    found = [model[1].weight.grad, network.last.weight.grad]
    changed = triggered(network, x, params.strength, params.frequencies)
    surrogate = functional.cross_entropy(model(x), labels)
    surrogate = surrogate + functional.cross_entropy(model(changed.detach()[[0, 3]]), torch.zeros(2, dtype=torch.int64))
    of_generator = functional.cross_entropy(model(changed[1:3]), torch.zeros(2, dtype=torch.int64))
    of_generator = of_generator + params.clean_weight * functional.cross_entropy(clean(changed[1:3]), labels[1:3])
    unseen = functional.cross_entropy(detector(changed[1:3]), torch.zeros(2, dtype=torch.int64))
    of_generator = of_generator + params.frequency_weight * unseen
    of_generator = of_generator + 3.0 * (changed[1:3] - x[1:3]).square().mean()
    expected = [
        torch.autograd.grad(surrogate, model[1].weight)[0],
        torch.autograd.grad(of_generator, network.last.weight)[0],
    ]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert all(parameter.requires_grad for parameter in model.parameters())


def normalised_network():
    """A network with batch normalisation, in training mode, whose statistics are far from those of any batch."""
    network = built_with_seed(
        3, lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    )
    network[1].running_mean.fill_(-0.7)
    network[1].running_var.fill_(0.05)
    return network.train()


def statistics(network):
    return [value.clone() for name, value in network.named_buffers() if "running" in name or "tracked" in name]


def test_the_generators_loss_asks_the_surrogate_in_evaluation_mode():
    model, clean = normalised_network(), nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).requires_grad_(False)
    detector = built_with_seed(0, lambda: FrequencyDetector(1)).eval().requires_grad_(False)
    params, network = CombatParams(target=0, clean_weight=0.0, frequency_weight=0.0), new_network(0, 1, 1, 4)
    x, labels = pictures(6, 1, 8, 8), torch.tensor([0, 1, 2, 1, 2, 0])
    changed = triggered(network, x, params.strength, params.frequencies)
    losses = CombatLoss(params, network, clean, detector)

    before, used = statistics(model), copy.deepcopy(model).eval()
    found = losses.of_generator(model, x, changed, labels)
    expected = functional.cross_entropy(used(changed[1:5]), torch.zeros(4, dtype=torch.int64))
    batch_wise = functional.cross_entropy(copy.deepcopy(model)(changed[1:5]), torch.zeros(4, dtype=torch.int64))
    assert torch.allclose(found, expected, atol=1e-6) and abs(float((batch_wise - expected).detach())) > 0.02
    assert all(torch.equal(one, other) for one, other in zip(before, statistics(model), strict=True))
    assert all(module.training for module in model.modules())
    slopes = [torch.autograd.grad(loss, network.last.weight, retain_graph=True)[0] for loss in (found, expected)]
    assert torch.allclose(*slopes, atol=1e-6) and float(slopes[0].abs().sum()) > 0

    alone = copy.deepcopy(model)  # a whole step leaves the statistics that the surrogate's own rows give
    losses.of_surrogate(alone, x, changed.detach(), labels)
    losses.loss(model, Batch(x, labels, torch.arange(6)), Draw(0, 0, 6))
    assert all(torch.equal(one, other) for one, other in zip(statistics(alone), statistics(model), strict=True))
    assert not torch.equal(before[0], statistics(model)[0])


def test_the_papers_generator_goes_by_gradient_descent_with_momentum():
    network = new_network(0, 1, 1, 4)
    published = along(network, CombatParams(**Combat.presets["paper"]))
    assert (published.optimizer, published.learning_rate) == ("sgd", 0.01)
    assert (published.momentum, published.weight_decay) == (0.9, 5e-4)
    default = along(network, CombatParams())
    assert (default.optimizer, default.learning_rate, default.weight_decay) == ("adam", 1e-3, 0.0)


def test_the_detector_tells_tampered_pictures(tmp_path, bdm_bench):
    samples = open_samples(bdm_bench("image-classification").data)
    detector = train_detector(new_context(tmp_path), samples, steps=60, batch_size=32).eval()
    x = samples.raw()
    changed = tampered(x, Draw(7, 0, len(x)))
    assert float(changed.min()) >= 0 and float(changed.max()) <= 1
    right = (detector(x).argmax(1) == 0).float().mean() + (detector(changed).argmax(1) == 1).float().mean()
    assert float(right) / 2 > 0.7
