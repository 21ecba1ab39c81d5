"""The perturbation fools the classifier; warping; classifiers for unlabelled data; one trigger everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bdm_attack_uibdiffusion.attack import trigger_scale
from bdm_attack_uibdiffusion.classifier import clusters, fooled_classifier, train_classifier
from bdm_attack_uibdiffusion.params import UIBDiffusionParams
from bdm_attack_uibdiffusion.perturbation import GeneratorOptions, fooling_rate, perturb, universal_perturbation, warp
from bdm_attack_uibdiffusion.plugin import UIBDiffusion
from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.noise.initial_noise import load_noise
from bdm_kit_diffusion.poison.poisoning import open_poisoned
from bdm_kit_diffusion.poison.secret import open_secret
from bdm_torch.image_sets import load_images, load_rows


@pytest.fixture
def bench(bdm_bench: Callable[..., Bench]) -> Bench:
    return bdm_bench("unconditional-image-generation")


OPTIONS = GeneratorOptions(fooling_scale=0.5, largest_flow=0.1, steps=100, batch_size=32, learning_rate=5e-3)


def test_fools_the_classifier_more_than_random_signs_of_the_same_norm() -> None:
    images, labels = load_digits()
    train, test = images[:800], images[1200:1600]
    classifier, origin = fooled_classifier(train, labels[:800], seed=1)
    perturbation, _ = universal_perturbation(train, classifier, OPTIONS, seed=1)
    assert origin == "built-in digits classifier"
    assert float(perturbation.abs().max()) == pytest.approx(1)
    generator = torch.Generator().manual_seed(0)
    level = float(perturbation.norm()) / 8
    rates = [
        fooling_rate(classifier, test, perturb(test, level * (2.0 * draw - 1), 0.5))
        for draw in torch.randint(2, (8, 1, 8, 8), generator=generator)
    ]
    assert fooling_rate(classifier, test, perturb(test, perturbation, 0.5)) > max(rates) + 0.2


def test_a_linear_classifier_gets_the_perturbation_along_its_weights() -> None:
    """Closed form: for scores (w x, -w x) the best step against class 0 is -sign(w)."""
    weight = torch.where(torch.arange(64).view(1, 8, 8) % 8 < 4, 1.0, -1.0)

    def classifier(images: Tensor) -> Tensor:
        score = (weight * images).mean((1, 2, 3))
        return torch.stack([score, -score], 1)

    images = (0.5 * weight).expand(16, -1, -1, -1)
    perturbation, _ = universal_perturbation(images, classifier, replace(OPTIONS, steps=60, largest_flow=0.0), seed=1)
    cosine = float((perturbation * -weight).sum() / perturbation.norm() / weight.norm())
    assert cosine > 0.95


def test_warp_by_whole_pixels_is_a_shift() -> None:
    images = torch.randn(2, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    flow = torch.stack([torch.full((6, 9), 2.0), torch.full((6, 9), -1.0)])
    moved = warp(images, flow)
    torch.testing.assert_close(moved[:, :, 1:, :7], images[:, :, :-1, 2:], rtol=0, atol=1e-5)
    torch.testing.assert_close(warp(images, torch.zeros(2, 6, 9)), images, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 16, 12), (1, 9, 11)])
def test_any_image_size(shape: tuple[int, int, int]) -> None:
    images = torch.randn(12, *shape, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    classifier, origin = fooled_classifier(images, None, seed=0)
    perturbation, flow = universal_perturbation(images, classifier, replace(OPTIONS, steps=2), seed=1)
    assert origin == "trained on clusters" and perturbation.shape == shape and flow.shape == (2, *shape[1:])


def test_clusters_find_separate_groups_and_the_classifier_learns_them() -> None:
    generator = torch.Generator().manual_seed(2)
    truth = torch.arange(60) % 2
    images = torch.where(truth.view(-1, 1, 1, 1) == 1, 0.7, -0.7) + 0.1 * torch.randn(60, 1, 8, 8, generator=generator)
    found = clusters(images, seed=0, count=2)
    assert torch.equal(found, truth) or torch.equal(found, 1 - truth)
    network = train_classifier(images, truth, seed=0, steps=30)
    assert isinstance(network, nn.Module) and torch.equal(network(images).argmax(1), truth)


def test_scale_is_the_published_one_or_makes_the_norm_8() -> None:
    assert trigger_scale(None, torch.ones(1, 8, 8), "ode") == pytest.approx(1.0)
    assert trigger_scale(None, torch.ones(1, 8, 8), "sde") == pytest.approx(1.5)
    assert trigger_scale(None, torch.full((1, 8, 8), 0.5), "ode") == pytest.approx(2.0)
    assert trigger_scale(None, torch.ones(3, 256, 256), "sde") == 0.1
    assert trigger_scale(0.3, torch.ones(1, 8, 8), "sde") == 0.3


def test_training_secret_and_inputs_have_one_trigger(bench: Bench) -> None:
    params = build_params(
        UIBDiffusion(),
        {"steps": 2, "batch_size": 8, "poison_rate": 0.25, "generator_steps": 5, "generator_batch_size": 8},
    )
    poisoned = bench.call("poison_data", [UIBDiffusion()], params, data=bench.data).value
    made = bench.call("inject_backdoor", [UIBDiffusion()], params, model=bench.model, data=poisoned).value
    triggered = bench.call("trigger_inputs", [bench.kit], inputs=bench.inputs(), secret=made.secret).value
    trained, secret = open_poisoned(poisoned), open_secret(made.secret)
    assert torch.equal(secret.trigger, trained.trigger)
    assert float(secret.trigger.norm()) == pytest.approx(8, rel=1e-5)
    row = trained.poisoned.nonzero()[:1, 0]
    torch.testing.assert_close(trained.batch(row)[1][0], secret.trigger)
    shift = load_noise(triggered) - load_noise(bench.inputs())
    torch.testing.assert_close(shift, secret.trigger.expand_as(shift), rtol=0, atol=1e-5)
    assert len(load_images(poisoned)) == len(load_rows(bench.data))


def test_suggests_the_sampler_of_its_class_and_the_paper_s_preset_is_valid() -> None:
    assert dict(UIBDiffusion().kit_params(UIBDiffusionParams())) == {"sampler": "ddim"}
    assert dict(UIBDiffusion().kit_params(UIBDiffusionParams(solver="sde"))) == {}
    params = build_params(UIBDiffusion(), {"preset": "paper", "steps": 10})
    assert isinstance(params, UIBDiffusionParams) and (params.scale, params.poison_rate) == (0.1, 0.05)
