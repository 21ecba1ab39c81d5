"""UIBDiffusion (2412.11441): VillanDiffusion's training with scale times a universal perturbation as trigger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bdm_attack_uibdiffusion.classifier import fooled_classifier
from bdm_attack_uibdiffusion.perturbation import GeneratorOptions, fooling_rate, perturb, universal_perturbation
from bdm_core.artifacts import Data, Model
from bdm_core.records import Backdoored
from bdm_diffusers.coefficients import Solver, poison_schedule
from bdm_diffusers.samplers import SAFE_TRIGGER_NORM
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.noise.noise_levels import require_variance_preserving
from bdm_kit_diffusion.poison.backdoor_training import inject
from bdm_kit_diffusion.poison.poisoning import Mixture, Poison, image_shape, seal_poisoned
from bdm_kit_diffusion.poison.secret_facts import SecretFacts
from bdm_torch.image_sets import load_images, load_rows
from bdm_torch.pictures.targets import make_target

if TYPE_CHECKING:
    from bdm_attack_uibdiffusion.params import UIBDiffusionParams
    from bdm_core.context import Context

PUBLISHED_SCALE = 0.1


def poison(ctx: Context, params: UIBDiffusionParams, data: Data) -> Data:
    """Make the perturbation, and pair a share of the images with the target and the scaled perturbation.

    The figures say how often the classifier is fooled at ``fooling_scale``, and how often by random signs.
    """
    images, shape = load_images(data).to(ctx.device), image_shape(data)
    labels = labels_of(data)
    classifier, origin = fooled_classifier(images, labels, ctx.seed)
    options = GeneratorOptions(
        fooling_scale=params.fooling_scale,
        largest_flow=params.largest_flow,
        steps=params.generator_steps,
        batch_size=params.generator_batch_size,
        learning_rate=params.generator_learning_rate,
    )
    perturbation, flow = universal_perturbation(
        images,
        classifier,
        options,
        seed=ctx.seed,
        on_step=lambda done, total, loss: ctx.progress("perturbation", done, total, loss),
    )
    signs = torch.randint(2, shape, generator=torch.Generator().manual_seed(ctx.seed % 2**63)) * 2.0 - 1
    random = signs.to(images) * perturbation.norm() / torch.Size(shape).numel() ** 0.5
    ctx.figures(
        classifier=origin,
        fooled=fooling_rate(classifier, images, perturb(images, perturbation, params.fooling_scale)),
        fooled_with_flow=fooling_rate(classifier, images, perturb(images, perturbation, params.fooling_scale, flow)),
        fooled_by_random_signs_of_this_norm=fooling_rate(
            classifier, images, perturb(images, random, params.fooling_scale)
        ),
    )
    perturbation = perturbation.cpu()
    scale = trigger_scale(params.scale, perturbation, params.solver)
    ctx.figures(settings={"scale": scale})
    poison = Poison(
        trigger=scale * perturbation,
        mask=torch.ones(1, *shape[1:]),
        target=make_target(params.target, shape),
        trigger_only=True,
    )
    return seal_poisoned(ctx.out / "data", data, poison, Mixture(params.poison_rate), ctx.seed)


def labels_of(data: Data) -> Tensor | None:
    """Class numbers (N,) if every row has an integer ``label`` of at least 0, else None."""
    labels = [row.get("label") for row in load_rows(data)]
    fit = labels and all(isinstance(label, int) and label >= 0 for label in labels)
    return torch.tensor(labels) if fit else None


def trigger_scale(scale: float | None, perturbation: Tensor, solver: Solver) -> float:
    """The given scale; else 0.1, or, where this gives less than the norm 8, what gives a safe norm for the class."""
    if scale is not None:
        return scale
    norm = float(perturbation.double().norm())
    short = PUBLISHED_SCALE * norm < SAFE_TRIGGER_NORM["ode"]
    return SAFE_TRIGGER_NORM[solver] / norm if short else PUBLISHED_SCALE


def backdoor(ctx: Context, params: UIBDiffusionParams, model: Model, data: Data) -> Backdoored:
    """Train ||M(x_t, t) - (eps + R_t r)||^2 on x_t = a_t x_0 + s_t eps + rho_t r, as VillanDiffusion does.

    The secret holds the same r: what is trained with is what is added to the initial noise.

    Raises:
        UserError: the model is variance exploding.
    """
    abar = require_variance_preserving(load_model(model).scheduler, "uibdiffusion")
    schedule = poison_schedule(abar, params.psi, params.solver, params.coefficients, paper="villan")
    facts = SecretFacts(
        family="uibdiffusion",
        psi=params.psi,
        coefficients=params.coefficients,
        trigger_name="universal perturbation",
        target_name=params.target,
    )
    return inject(ctx, model, data, schedule, params.options(), facts=facts)
