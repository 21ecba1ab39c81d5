"""Training without the flagged rows, from the model that the training started from."""

from __future__ import annotations

import torch

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_spectral_signatures.detection import THRESHOLD, judge
from bdm_defense_spectral_signatures.params import SpectralSignaturesParams
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.image_sets import load_images
from bdm_torch.training import train_in_stage


def repair(
    ctx: Context, params: SpectralSignaturesParams, model: Model, detection: Detection | None, training_data: Data
) -> Model:
    """Train ``model``, the one before the attack, on the rows that are not flagged.

    Args:
        ctx: the model is sealed in ``ctx.out / "model"``.
        params: of the training.
        model: where the training starts.
        detection: of any detector of training rows; without one, or with one of another level, the rows are judged
            here.
        training_data: the rows, in the order that the detection judged.

    Raises:
        UserError: no row is left.
    """
    images = load_images(training_data)
    if detection is not None and detection.level == "data":
        flagged = torch.tensor(detection.scores, dtype=torch.float64) > detection.threshold
    else:
        flagged = judge(ctx, params, training_data).scores > THRESHOLD
    if bool(flagged.all()):
        raise UserError(f"all {len(images)} training rows are flagged: nothing is left to train on")
    opened = load_model(model, ctx.device)
    loss = denoising_loss(opened.encode(images[~flagged]), opened.scheduler)
    train_in_stage(ctx, opened.unet, loss, params.options(), label="train without flagged rows", curve="repair loss")
    ctx.figures(rows_left_out=int(flagged.sum()), rows=len(images))
    opened.unet.to("cpu")
    return seal_model(opened, ctx.out / "model")
