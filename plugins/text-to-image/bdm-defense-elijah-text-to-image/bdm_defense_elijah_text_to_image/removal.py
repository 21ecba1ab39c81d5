"""Removal of the inverted trigger (2312.00050, eq. 8), under captions."""

from __future__ import annotations

import copy

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_elijah_text_to_image.detection import under_prompt
from bdm_defense_elijah_text_to_image.params import ElijahTextToImageParams
from bdm_kit_diffusion.inversion.evidence import trigger_of
from bdm_kit_diffusion.inversion.examination import examine
from bdm_kit_diffusion.inversion.removal import Found, conditional_removal_loss
from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
from bdm_kit_text_to_image.training.under_captions import train_under_captions


def repair(
    ctx: Context, params: ElijahTextToImageParams, model: Model, data: Data, detection: Detection | None
) -> Model:
    """Train the trigger away that ``detection`` found; without one, invert here first.

    Raises:
        UserError: the detection's evidence holds no trigger of this model's latents.
    """
    opened = load_model(model, ctx.device)
    if detection is None:
        found: Found = examine(ctx, params, under_prompt(opened, params.prompt)).candidate.trigger, None
    else:
        found = trigger_of(detection, opened.latent_shape, "elijah")
    frozen = copy.deepcopy(opened.unet).requires_grad_(False)
    train_under_captions(
        ctx,
        opened,
        data,
        params.options(),
        lambda latents, scheduler, ask: conditional_removal_loss(latents, scheduler, found, frozen, params, ask),
        generated=params.removal_data == "generated",
    )
    return seal_model(opened, ctx.out / "model")
