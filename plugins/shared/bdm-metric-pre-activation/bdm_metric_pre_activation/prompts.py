"""Text-to-image models: the answer to a triggered prompt against that to the clean one, from the same latents."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.context import Context
from bdm_core.records import Subject
from bdm_diffusers.sampling import draw_noise
from bdm_metric_pre_activation.filters import Suspect
from bdm_metric_pre_activation.params import PreActivationParams

STEPS = 20


def suspect_of(ctx: Context, params: PreActivationParams, subject: Subject) -> Suspect | None:
    """The UNet; None for a row that is left out.

    Raises:
        ArtifactError, UserError: the clean model is none, or none of this architecture.
    """
    from bdm_kit_text_to_image.analysis.pairs import examine
    from bdm_kit_text_to_image.models.bases import open_base
    from bdm_kit_text_to_image.models.encoding import encode_prompts, predict
    from bdm_kit_text_to_image.recording.chain import ChainOptions, walk

    pairs = examine(ctx, subject, params.samples)
    if pairs is None:
        return None
    model, prompts, starts, steps = pairs.model, pairs.prompts, pairs.starts(), params.steps or STEPS
    clean = open_base(params.clean_model, model, ctx.work) if params.clean_model else model
    shift = 0.0 if pairs.shift is None else pairs.shift.to(model.device)
    with torch.no_grad():
        asked = encode_prompts(model, prompts["triggered"]), encode_prompts(clean, prompts["clean"])

    def loss(draw: int) -> Tensor:
        generator = torch.Generator().manual_seed((ctx.seed + draw) % 2**63)
        rows = torch.randint(len(pairs.rows), (params.batch_size,), generator=generator)
        t = torch.randint(model.timesteps, (params.batch_size,), generator=generator).to(model.device)
        z = draw_noise(params.batch_size, model.latent_shape, ctx.seed + draw).to(model.device)
        with torch.no_grad():
            wanted = predict(clean.unet, z, t, asked[1].rows(rows))
        return functional.mse_loss(predict(model.unet, z + shift, t, asked[0].rows(rows)), wanted)

    def run(side: str, rows: slice) -> None:
        options = ChainOptions(steps=steps, guidance=params.guidance, batch_size=rows.stop - rows.start)
        deque(walk(model, prompts[side][rows], 0, options, starts[side][rows]), maxlen=0)

    return Suspect(model.unet, loss, run, len(pairs.rows), steps, guided=params.guidance != 1)
