"""Latent diffusion (Rombach et al., 2112.10752): the first stage between images and the latents that the UNet denoises.

A first stage is a VQModel or an AutoencoderKL of diffusers. The UNet works on z = scale (E(x) - shift); a sample is
D(z / scale + shift). Everything on the noise happens in latents: a trigger picture g becomes x_T = eps + E(g), poisoned
pictures and targets are encoded once before the training (VillanDiffusion, 2306.06874, section 4.2).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from bdm_core.errors import ArtifactError
from bdm_kit_diffusion.models.pipeline_folder import FIRST_STAGES, WEIGHTS_STEM
from bdm_torch.foreign_models import open_network

BATCH = 16


class FirstStage:
    """A frozen autoencoder of images (N, C, H, W) in [-1, 1].

    Attributes:
        network: a VQModel or an AutoencoderKL, in evaluation mode, without gradients.
        scale: what latents are multiplied by before the UNet sees them.
        shift: what is subtracted before that.
    """

    def __init__(self, network: nn.Module, scale: float, shift: float = 0.0) -> None:
        self.network = network.eval().requires_grad_(False)
        self.scale, self.shift = scale, shift

    @property
    def factor(self) -> int:
        """An image is so many times as high and wide as its latents."""
        config: Any = self.network.config
        return int(2 ** (len(config["block_out_channels"]) - 1))

    @property
    def channels(self) -> int:
        """Channels of an image."""
        config: Any = self.network.config
        return int(config["in_channels"])

    @torch.no_grad()
    def encode(self, images: Tensor, batch_size: int = BATCH) -> Tensor:
        """Latents (N, c, H/factor, W/factor), float32, on the images' device; of a KL posterior the mean.

        Latents of a VQModel are those before quantisation: its decoder quantises.
        """
        network: Any = self.network.to(images.device)
        parts = []
        for batch in images.split(batch_size):
            found = network.encode(batch)
            parts.append(found.latents if hasattr(found, "latents") else found.latent_dist.mean)
        return (torch.cat(parts).float() - self.shift) * self.scale

    def decode(self, latents: Tensor, batch_size: int = BATCH) -> Tensor:
        """Images (N, C, H, W), clamped to [-1, 1], of latents; with gradients where gradients are enabled."""
        network: Any = self.network.to(latents.device)
        parts = [network.decode(batch / self.scale + self.shift).sample for batch in latents.split(batch_size)]
        return torch.cat(parts).clamp(-1, 1)


def open_first_stage(folder: Path, class_name: str, stated: dict[str, Any]) -> FirstStage:
    """Open a first stage from a folder that was checked to hold safetensors.

    Args:
        folder: of ``config.json`` and the weights.
        class_name: one of :data:`bdm_kit_diffusion.models.pipeline_folder.FIRST_STAGES`.
        stated: the content of its ``config.json``. A VQModel that states no ``scaling_factor`` has 1, as in the
            original latent diffusion; diffusers' default, Stable Diffusion's, garbles CompVis/ldm-celebahq-256.

    Raises:
        ArtifactError: the class is not allowed, or the weights do not fit, see
            :func:`bdm_torch.foreign_models.open_network`.
    """
    if class_name not in FIRST_STAGES:
        raise ArtifactError(f"{folder} names the class {class_name!r}: a first stage is {' or '.join(FIRST_STAGES)}")
    network = open_network(
        getattr(diffusers, class_name), folder, WEIGHTS_STEM, low_cpu_mem_usage=False, torch_dtype=torch.float32
    )
    if class_name == "VQModel" and "scaling_factor" not in stated:
        network.register_to_config(scaling_factor=1.0)
    return FirstStage(network, float(network.config.scaling_factor), float(network.config.get("shift_factor") or 0.0))
