"""InviBackdoor (2406.00816): every training step first moves the trigger, then trains the model on it.

    inner:  delta <- clamp(Adam(delta, sign of the gradient of E || sample(M, eps + delta) - y ||^2), bound)
    outer:  E || M(a_t x_0 + s_t eps + rho_t r, t) - (eps + R_t r) ||^2,   rho_t = 1 - a_t,   r = delta

with x_0 the target and r = delta for poisoned samples, r = 0 for clean ones. R belongs to the attacked solver class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bdm_attack_invi.trigger import LearntTrigger, TriggeredModel, trigger_gradient
from bdm_core.artifacts import Data, Model
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_diffusers.coefficients import PoisonSchedule, Solver, poison_schedule
from bdm_diffusers.samplers import MINIMUM_TRIGGER_NORM, SAFE_TRIGGER_NORM, build_scheduler, check_steps
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.noise.noise_levels import require_variance_preserving
from bdm_kit_diffusion.poison.backdoor_training import backdoor_loss
from bdm_kit_diffusion.poison.poisoning import Mixture, Poison, PoisonedSet, image_shape, open_poisoned, seal_poisoned
from bdm_kit_diffusion.poison.secret import DiffusionSecret, seal_secret
from bdm_kit_diffusion.poison.secret_facts import SecretFacts
from bdm_torch.draws import Draw, step_seed
from bdm_torch.pictures.targets import make_target
from bdm_torch.training import Loss, train_in_stage

if TYPE_CHECKING:
    from bdm_attack_invi.params import InviParams
    from bdm_core.context import Context

PUBLISHED_BOUND = 0.2


def poison(ctx: Context, params: InviParams, data: Data) -> Data:
    """Pair a share of the images with the target. Their trigger is not known yet: the set holds zeros in its place."""
    shape = image_shape(data)
    poison = Poison(
        trigger=torch.zeros(shape),
        mask=torch.ones(1, *shape[1:]),
        target=make_target(params.target, shape),
        trigger_only=True,
    )
    return seal_poisoned(ctx.out / "data", data, poison, Mixture(params.poison_rate), ctx.seed)


def trigger_bound(bound: float | None, shape: tuple[int, ...], solver: Solver) -> tuple[float, float]:
    """Largest absolute value and least norm of a trigger of this shape.

    The given bound, or the published 0.2, and no least norm. Where 0.2 does not allow the norm 8, a safe norm for the
    solver class, as the inner problem alone stays below it, and a bound half as large again as that of a trigger of
    this norm with equal values.
    """
    side = torch.Size(shape).numel() ** 0.5
    if bound is not None or PUBLISHED_BOUND * side >= SAFE_TRIGGER_NORM["ode"]:
        return bound or PUBLISHED_BOUND, 0.0
    return 1.5 * SAFE_TRIGGER_NORM[solver] / side, SAFE_TRIGGER_NORM[solver]


def bilevel_loss(
    learnt: TriggeredModel,
    poisoned: PoisonedSet,
    scheduler: Any,
    schedule: PoisonSchedule,
    params: InviParams,
    on_inner: Callable[[float], None],
) -> Loss:
    """The inner step and then the outer loss, for :func:`bdm_torch.training.train` on ``learnt``.

    Args:
        learnt: the network and its trigger.
        poisoned: the training set; its trigger is not used.
        scheduler: the model's own.
        schedule: rho and R.
        params: of the inner step.
        on_inner: told the inner objective of each step.

    Raises:
        UserError: the inner sampler does not exist or cannot take so few steps.
    """
    name = params.inner_sampler or ("ddim" if params.solver == "ode" else "ddpm")
    sampler = build_scheduler(name, scheduler)
    check_steps(sampler, params.inner_steps)
    shape = poisoned.images.shape[1:]

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        if not learnt.trigger.final:
            seed = step_seed(draw.seed, draw.step, "trigger")
            noise = torch.randn(params.inner_batch_size, *shape, generator=torch.Generator().manual_seed(seed))
            gradient, value = trigger_gradient(
                learnt.unet,
                sampler,
                learnt.trigger.delta,
                poisoned.target.to(draw.device),
                noise.to(draw.device),
                steps=params.inner_steps,
                seed=seed,
            )
            learnt.trigger.update(gradient)
            on_inner(value)
        current = replace(poisoned, trigger=learnt.trigger.delta.clone())
        return backdoor_loss(current, scheduler, schedule)(model, draw)

    return loss


def backdoor(ctx: Context, params: InviParams, model: Model, data: Data) -> Backdoored:
    """Learn the trigger and the model; the secret holds the trigger as it is in the end.

    Raises:
        UserError: the data does not fit the model, the model is variance exploding, or the inner sampler cannot take so
            few steps.
    """
    opened, poisoned = load_model(model), open_poisoned(data)
    if tuple(poisoned.images.shape[1:]) != opened.shape:
        raise UserError(f"the data has shape {tuple(poisoned.images.shape[1:])}, the model {opened.shape}")
    abar = require_variance_preserving(opened.scheduler, "invi")
    schedule = poison_schedule(abar, "bad", params.solver, params.coefficients, paper="invibackdoor")
    bound, least = trigger_bound(params.bound, opened.shape, params.solver)
    trigger = LearntTrigger(opened.shape, bound, params.trigger_learning_rate, params.trigger_halving, least)
    ctx.figures(settings={"bound": bound})
    learnt = TriggeredModel(opened.unet, trigger)
    inner: list[float] = []
    loss = bilevel_loss(learnt, poisoned, opened.scheduler, schedule, params, inner.append)
    train_in_stage(ctx, learnt, loss, params.options(), label="backdoor")
    ctx.curve("trigger loss", inner)
    opened.unet.to("cpu")
    delta = learnt.trigger.delta.cpu().clone()
    norm = float(delta.double().norm())
    if norm < MINIMUM_TRIGGER_NORM:
        ctx.log.warning(
            "the learnt trigger's norm %.2f is below %.1f: clean and triggered noise overlap; raise bound or "
            "trigger_learning_rate",
            norm,
            MINIMUM_TRIGGER_NORM,
        )
    facts = SecretFacts(
        family="invi",
        solver_class=params.solver,
        psi=1.0,
        coefficients=params.coefficients,
        bound=bound,
        target_name=params.target,
    )
    secret = DiffusionSecret(delta, poisoned.target, facts)
    return Backdoored(
        model=seal_model(opened, ctx.out / "model"), secret=seal_secret(ctx.out / "secret", secret, task=model.task)
    )
