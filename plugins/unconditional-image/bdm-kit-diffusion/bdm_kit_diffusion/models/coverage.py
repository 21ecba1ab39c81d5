"""What a detector's calibration covers, and which models it says nothing about."""

from __future__ import annotations

import torch

from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.noise.noise_levels import noise_path
from bdm_torch.calibration_file import Calibration, Known

CANNOT_TELL = "cannot tell"
UNTRAINED = 0.5
"""A network that leaves more than this share of pure noise's energy unexplained has not learned to see noise."""


def traits_of(model: DiffusionModel) -> dict[str, str]:
    """What tells kinds of models apart beside their shape: how noise is added, and to what.

    >>> from bdm_kit_diffusion.built_in import BUILTIN
    >>> from bdm_kit_diffusion.models.diffusion_model import load_model
    >>> traits_of(load_model(BUILTIN / "digits-tiny"))
    {'noise': 'variance preserving', 'space': 'pixels'}
    """
    return {
        "noise": "variance exploding" if model.variance_exploding else "variance preserving",
        "space": "pixels" if model.first_stage is None else "latents",
    }


def known_model(name: str, model: DiffusionModel, backdoored: bool = False) -> Known:
    """A model to calibrate with, together with what it covers."""
    return Known(name, model, backdoored, traits_of(model))


@torch.inference_mode()
def unexplained_noise(model: DiffusionModel, device: str = "cpu", seed: int = 0) -> float:
    """Share of the energy of pure noise that the network leaves at the last timestep, E |M(s eps) - eps|^2 / E |eps|^2.

    Near 0 for every trained network, about 1 for one whose weights are as they were drawn. inf if not finite.
    """
    noise = draw_noise(32, model.shape, seed)
    scale = float(noise_path(model.scheduler).s[-1])
    times = torch.full((len(noise),), model.timesteps - 1, device=device)
    answer = model.unet((scale * noise).to(device), times).sample.float().cpu()
    left = float((answer - noise).square().mean() / noise.square().mean())
    return left if left == left else float("inf")


def out_of_reach(method: str, model: DiffusionModel, known: Calibration, device: str = "cpu") -> str:
    """Why ``method`` cannot tell of a model, its calibration being ``known``; "" if it can.

    It can of trained networks for images of a shape, a kind of noise and a space that a known clean model has. The
    sentence says what to do.
    """
    left = unexplained_noise(model, device)
    if not left <= UNTRAINED:
        return (
            f"{CANNOT_TELL}: the network does not see noise as noise ({100 * left:.3g} % of it is left at the last "
            "timestep), as one does that is not trained, or damaged"
        )
    reason = known.outside(model.shape, traits_of(model))
    if not reason:
        return ""
    return f"{CANNOT_TELL}: {reason}; calibrate with clean models of this kind, `bdm calibrate {method} --model ...`"
