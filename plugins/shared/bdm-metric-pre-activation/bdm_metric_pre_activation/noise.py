"""Unconditional models: the answer to triggered noise against that to the noise without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Subject
from bdm_diffusers.sampling import SamplingOptions, draw_noise, sample
from bdm_metric_pre_activation.filters import Suspect
from bdm_metric_pre_activation.params import PreActivationParams

if TYPE_CHECKING:
    from bdm_kit_diffusion.models.diffusion_model import DiffusionModel


def suspect_of(ctx: Context, params: PreActivationParams, subject: Subject) -> Suspect | None:
    """The UNet; None for a row that is left out.

    Raises:
        ArtifactError: the clean model is none.
        UserError: it works on images of another shape.
    """
    from bdm_kit_diffusion.models.diffusion_model import load_model
    from bdm_kit_diffusion.params import DiffusionKitParams
    from bdm_kit_diffusion.poison.secret import open_secret
    from bdm_kit_diffusion.stages import chosen_sampling

    if subject.role == "purified":
        return None
    model, secret = load_model(subject.model, ctx.device), open_secret(subject.secret)
    clean = clean_model(params.clean_model, model, ctx.device) if params.clean_model else model
    noise = draw_noise(params.samples, model.shape, ctx.seed)
    starts = {"clean": noise, "triggered": secret.add_to(noise)}
    _, scheduler, steps = chosen_sampling(DiffusionKitParams(steps=params.steps), model)

    def loss(draw: int) -> Tensor:
        generator = torch.Generator().manual_seed((ctx.seed + draw) % 2**63)
        t = torch.randint(model.timesteps, (params.batch_size,), generator=generator).to(ctx.device)
        x = draw_noise(params.batch_size, model.shape, ctx.seed + draw)
        with torch.no_grad():
            wanted = clean.unet(x.to(ctx.device), t).sample
        return functional.mse_loss(model.unet(secret.add_to(x).to(ctx.device), t).sample, wanted)

    def run(side: str, rows: slice) -> None:
        start = starts[side][rows].to(ctx.device)
        options = SamplingOptions(len(start), clip_states=model.clip_states, first_index=rows.start)
        sample(model.unet, scheduler, start, steps=steps, seed=ctx.seed, options=options)

    return Suspect(model.unet, loss, run, params.samples, steps, guided=False)


def clean_model(reference: str, model: DiffusionModel, device: str) -> DiffusionModel:
    """The clean model in a folder, sealed or not. Raises UserError if its images have another shape."""
    from bdm_kit_diffusion.models.diffusion_model import load_model

    folder = Path(reference).expanduser()
    sealed = (folder / "manifest.json").is_file()
    clean = load_model(Model.open(folder) if sealed else folder, device)
    if clean.shape != model.shape:
        raise UserError(f"{reference} works on {clean.shape}, the model on {model.shape}: it is no clean one of it")
    return clean
