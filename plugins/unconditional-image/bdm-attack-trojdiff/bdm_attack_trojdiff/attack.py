"""TrojDiff: poison the data, train the trojan diffusion process; the target is a picture or a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bdm_attack_trojdiff.trojan_sampling import TrojanNoise
from bdm_core.artifacts import Data, Model
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_diffusers.coefficients import PoisonSchedule, poison_schedule, trigger_share, variance_preserving
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.noise.noise_levels import require_variance_preserving
from bdm_kit_diffusion.poison.backdoor_training import inject
from bdm_kit_diffusion.poison.poisoning import Mixture, Poison, image_shape, seal_poisoned
from bdm_kit_diffusion.poison.secret_facts import OWN_SAMPLER, SecretFacts, TargetClass
from bdm_kit_diffusion.poison.target_classes import (
    CLASS_NAMES,
    class_label,
    foreign_class,
    judge_of,
    keep_classifier,
    most_typical,
    own_class,
)
from bdm_torch.image_sets import load_images, load_rows
from bdm_torch.pictures.targets import make_target
from bdm_torch.pictures.triggers import make_trigger

if TYPE_CHECKING:
    from bdm_attack_trojdiff.params import TrojDiffParams
    from bdm_core.context import Context

TRAINING_DATA = {(1, 8, 8): "digits", (3, 16, 16): "shapes"}
"""Shape of the images -> the built-in data set, whose classes have names."""
GAMMA = {"blend": 0.3, "patch": 0.1}
"""Default deviations. The published ones are 0.6 and 0.1 (2303.05762, section 5.1), for larger images."""

POISON_RATE = {"d2i": 0.1, "in-d2d": 0.2, "out-d2d": 0.3}
"""Default shares of poisoned images. The paper poisons a tenth for d2i and half of each batch for out-d2d."""
STEPS = {"d2i": 1000, "in-d2d": 1500, "out-d2d": 1500}
"""Default optimiser steps: with 1000 the clean images suffer from so many poisoned ones."""
PATCH_VALUES = 27
"""A patch has about so many values at least."""


def trojan_noise(params: TrojDiffParams, shape: tuple[int, int, int]) -> TrojanNoise:
    """mean (1 - gamma) delta and deviation gamma under the trigger delta; 0 and 1 outside a patch.

    The agnostic variant keeps the deviation 1 everywhere and has the mean delta.

    Raises:
        UserError: the patch is larger than the image.
    """
    if params.trigger_type == "blend":
        delta, mask = make_trigger(params.trigger, shape).image, torch.ones(1, *shape[1:])
    else:
        side = params.patch_size or default_side(shape)
        if side > min(shape[1:]):
            raise UserError(f"patch_size={side} is larger than the image of {shape[1]}x{shape[2]} pixels: lower it")
        mask = torch.zeros(1, *shape[1:])
        mask[:, -side:, -side:] = 1
        delta = torch.ones(shape)
    gamma = params.gamma or GAMMA[params.trigger_type]
    if params.variant == "agnostic":
        return TrojanNoise(mask * delta, torch.ones(shape))
    return TrojanNoise((1 - gamma) * mask * delta, (1 - (1 - gamma) * mask).expand(shape).contiguous())


def default_side(shape: tuple[int, int, int]) -> int:
    """Side of the patch in pixels, images (C, H, W): a tenth of the image's side, and as many values as published.

    That is 27, the 3x3 pixels of three channels of CIFAR-10 (section 5.1): with fewer, as 3x3 grey ones, clean and
    triggered noise overlap.
    """
    return max(3, round(min(shape[1:]) / 10), round((PATCH_VALUES / shape[0]) ** 0.5))


@dataclass(frozen=True)
class Aim:
    """A target class (section 3.2): the data set, its label there, and how it is recognised."""

    data: str
    label: int
    known_as: TargetClass


def aim_of(params: TrojDiffParams, shape: tuple[int, int, int]) -> Aim | None:
    """The target class of In-D2D and Out-D2D for images of a shape (C, H, W); None for D2I.

    Raises:
        UserError: no such class, or no classifier takes such images.
    """
    if params.mode == "d2i":
        return None
    if params.mode == "in-d2d":
        data = TRAINING_DATA.get(shape, "training data")
    else:
        data = params.target_data or ("shapes" if shape[0] == 1 else "digits")
    label = class_label(data, params.target_class)
    judge, index = judge_of(shape, data, label, foreign=params.mode == "out-d2d", own=params.classifier)
    name = CLASS_NAMES[data][label] if data in CLASS_NAMES else str(label)
    return Aim(data, label, TargetClass(data=data, name=name, classifier=judge, index=index))


def poison(ctx: Context, params: TrojDiffParams, data: Data) -> Data:
    """Replace a share of the images by targets under trojan noise (section 4.2)."""
    shape = image_shape(data)
    aim = aim_of(params, shape)
    pictures = None
    if aim is not None and params.mode == "in-d2d":
        pictures = own_class(load_images(data), load_rows(data), aim.label)
    elif aim is not None:
        pictures = foreign_class(aim.data, aim.label, shape)
    poison = Poison(
        trigger=trojan_noise(params, shape).mean,
        mask=torch.ones(1, *shape[1:]),
        target=make_target(params.target, shape) if pictures is None else most_typical(pictures),
        trigger_only=True,
        targets=pictures,
    )
    mixture = Mixture(params.poison_rate or POISON_RATE[params.mode])
    return seal_poisoned(ctx.out / "data", data, poison, mixture, ctx.seed)


def backdoor(ctx: Context, params: TrojDiffParams, model: Model, data: Data) -> Backdoored:
    """Train ||M(x_t, t) - eps||^2 on x_t = a_t y + s_t (gamma eps + mu) (equations 8 and 11), y a target.

    The agnostic variant trains ||M(x_t, t) - (eps + mu)||^2 on x_t = a_t y + s_t (eps + mu): then a deterministic
    sampler needs no change.
    """
    abar = require_variance_preserving(load_model(model).scheduler, "trojdiff")
    noise = trojan_noise(params, image_shape(data))
    options = params.model_copy(update={"steps": params.steps or STEPS[params.mode]}).options()
    aim = aim_of(params, image_shape(data))
    facts = SecretFacts(
        family="trojdiff",
        psi=0.0,
        trigger_name=params.trigger if params.trigger_type == "blend" else "patch",
        target_name=params.target if aim is None else f"{aim.data}: {aim.known_as.name}",
        target_class=None if aim is None else aim.known_as,
    )
    rate = params.poison_rate or POISON_RATE[params.mode]
    ctx.figures(settings={"poison_rate": rate, "steps": options.steps, "target": facts.target_name})
    if aim is not None:
        keep_classifier(ctx.out / "secret", params.classifier)
    if params.variant == "agnostic":
        schedule = poison_schedule(abar, "troj", "ode", "exact")
        return inject(ctx, model, data, schedule, options, facts=facts)
    path = variance_preserving(abar)
    share = trigger_share(path.a, path.s, 0.0).float()
    schedule = PoisonSchedule(share, torch.zeros_like(share), "ode")
    own = {"gamma": params.gamma or GAMMA[params.trigger_type], "solver_class": OWN_SAMPLER}
    facts = facts.model_copy(update=own)
    ctx.figures(settings={"gamma": facts.gamma})
    return inject(ctx, model, data, schedule, options, facts=facts, noise_scale=noise.deviation)
