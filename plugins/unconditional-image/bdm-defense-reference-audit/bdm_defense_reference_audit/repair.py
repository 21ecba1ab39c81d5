"""Repair: make the suspect answer probes as its reference does, and clean samples as it did before.

With M the model in training, F the suspect as it was and B the reference, both frozen:

    L = d L_dm(clean) + c MSE(M(x_t, t), F(x_t, t)) + w MSE(M(p, t), B(p, t)).

Half of the probes p are clean samples shifted by k s_t tau, with |k| around 1 and of both signs, as the sign of a
direction is the least certain thing about it; tau is by turns the trigger that the detection estimates and the shift at
which the two models diverge most. The other half are noise that is 2 to 4 times as wide as usual, s_t c eps, which
reaches the trigger's side of the space in every direction, also where tau is not the trigger. The reference has no
backdoor, so its answer there is the wanted one; what the suspect learned on clean images stays, as clean samples are
tied to the suspect.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_reference_audit.audit import audit
from bdm_defense_reference_audit.detection import MOST_DIVERGENT
from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_defense_reference_audit.reference import load_reference, no_parent
from bdm_kit_diffusion.inversion.evidence import TENSORS, trigger_of
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.noise.noise_levels import marginals
from bdm_torch.draws import Draw
from bdm_torch.image_sets import load_images
from bdm_torch.tensors import read_tensors
from bdm_torch.training import Loss, train_in_stage

SCALES = (0.3, 1.7)
"""Range of |k|."""
WIDTHS = (2.0, 4.0)
"""Range of c."""


def repair(ctx: Context, params: ReferenceAuditParams, model: Model, data: Data, detection: Detection | None) -> Model:
    """Repair with the shift that ``detection`` found; without a detection, look for one here first.

    Raises:
        UserError: the detection's evidence holds no trigger of this model's shape; or there is no reference, or it
            is not what the model was made from.
    """
    opened = load_model(model, ctx.device)
    reference, name = load_reference(ctx.work, ctx.device, params.reference, opened)
    if refused := no_parent(opened, reference, name):
        raise UserError(f"reference-audit cannot repair: {refused}")
    if detection is None:
        found = audit(Pair(opened, reference, ctx.seed, ctx.device), params, ctx.progress)
        triggers = torch.stack([found.chosen.shift.tensor, found.strangest.shift.tensor])
    else:
        triggers = triggers_of(detection, opened.shape)
    images = opened.encode(load_images(data))
    frozen = copy.deepcopy(opened.unet).requires_grad_(False)
    base = reference.unet.requires_grad_(False)
    loss = probe_loss(images, opened.scheduler, triggers, frozen, base, params)
    train_in_stage(ctx, opened.unet, loss, params.options(), label="repair", curve="repair loss")
    ctx.figures(
        reference=name,
        clean_samples=len(images),
        network_evaluations=2 * params.steps * (params.batch_size + min(params.probe_batch, params.batch_size)),
    )
    opened.unet.to("cpu")
    return seal_model(opened, ctx.out / "model")


def triggers_of(detection: Detection, shape: tuple[int, int, int]) -> Tensor:
    """The triggers of a detection, (K, C, H, W): any plugin's one, or this plugin's two estimates.

    Raises:
        UserError: the evidence holds no trigger of this shape.
    """
    trigger, _ = trigger_of(detection, shape, "reference-audit")
    assert detection.evidence is not None
    other = read_tensors(detection.evidence.file(TENSORS)).get(MOST_DIVERGENT)
    return torch.stack([trigger] if other is None else [trigger, other])


def probe_loss(
    images: Tensor, scheduler: Any, triggers: Tensor, frozen: nn.Module, base: nn.Module, params: ReferenceAuditParams
) -> Loss:
    """The loss above.

    Args:
        images: clean, (N, C, H, W).
        scheduler: the suspect's; see :func:`bdm_kit_diffusion.noise.noise_levels.marginals`.
        triggers: every tau, (K, C, H, W); the probes take them by turns.
        frozen: F, on the device of the training.
        base: B, likewise.
        params: weights and numbers of inputs.
    """
    a, s = marginals(scheduler)

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        clean = images[draw.rows(len(images))].to(draw.device)
        count = min(params.probe_batch, len(clean))
        early, late = draw.timesteps(len(a)), draw.timesteps(len(a))[:count]
        noise, wide = draw.normal(*triggers.shape[1:]), draw.normal(*triggers.shape[1:])[:count]
        amount, side = draw.uniform(1, 1, 1)[:count], draw.uniform(1, 1, 1)[:count]
        turns = torch.arange(count) // 2 % len(triggers)
        sign = torch.where(side < 0.5, -1.0, 1.0)
        share, level = (part.to(draw.device) for part in (a, s))
        shifted = share[late].view(-1, 1, 1, 1) * clean[:count] + level[late].view(-1, 1, 1, 1) * (
            wide + sign * (SCALES[0] + (SCALES[1] - SCALES[0]) * amount) * triggers[turns].to(draw.device)
        )
        spread = level[late].view(-1, 1, 1, 1) * (WIDTHS[0] + (WIDTHS[1] - WIDTHS[0]) * amount) * wide
        odd = (torch.arange(count, device=draw.device) % 2 == 1).view(-1, 1, 1, 1)
        probes = torch.where(odd, spread, shifted)
        noisy = share[early].view(-1, 1, 1, 1) * clean + level[early].view(-1, 1, 1, 1) * noise
        with torch.no_grad():
            before, wanted = frozen(noisy, early).sample, base(probes, late).sample
        plain, probed = model(torch.cat([noisy, probes]), torch.cat([early, late])).sample.split([len(clean), count])
        return (
            params.denoising_weight * functional.mse_loss(plain, noise)
            + params.clean_weight * functional.mse_loss(plain, before)
            + params.probe_weight * functional.mse_loss(probed, wanted)
        )

    return loss
