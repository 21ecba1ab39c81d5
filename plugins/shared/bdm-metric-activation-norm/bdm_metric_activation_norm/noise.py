"""Unconditional models: initial noise without and with the trigger, through the model's own sampler."""

from __future__ import annotations

from torch import nn

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Subject
from bdm_diffusers.sampling import SamplingOptions, draw_noise, sample
from bdm_metric_activation_norm.norms import Looked
from bdm_metric_activation_norm.params import ActivationNormParams


def looked_at(ctx: Context, params: ActivationNormParams, subject: Subject) -> Looked | None:
    """The UNet; None for a row that is left out.

    Raises:
        UserError: modules are asked for that no unconditional model has.
    """
    from bdm_kit_diffusion.models.diffusion_model import load_model
    from bdm_kit_diffusion.params import DiffusionKitParams
    from bdm_kit_diffusion.poison.secret import open_secret
    from bdm_kit_diffusion.stages import chosen_sampling

    if params.modules not in ("auto", "conv"):
        raise UserError(f"metric:activation-norm: an unconditional model has no {params.modules}: choose conv")
    if subject.role == "purified":
        return None
    model, secret = load_model(subject.model, ctx.device), open_secret(subject.secret)
    clean = draw_noise(params.samples, model.shape, ctx.seed)
    starts = {"clean": clean, "triggered": secret.add_to(clean)}
    _, scheduler, steps = chosen_sampling(DiffusionKitParams(steps=params.steps), model)

    def run(side: str, rows: slice) -> None:
        start = starts[side][rows].to(ctx.device)
        options = SamplingOptions(len(start), clip_states=model.clip_states, first_index=rows.start)
        sample(model.unet, scheduler, start, steps=steps, seed=ctx.seed, options=options)

    def is_convolution(name: str, module: nn.Module) -> bool:
        return isinstance(module, nn.Conv2d)

    return Looked(model.unet, run, params.samples, steps, is_convolution, inputs=False, guided=False)
