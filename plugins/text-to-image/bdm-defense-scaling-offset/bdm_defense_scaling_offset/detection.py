"""How far scaled cross-attention moves the predicted noise (after SET, Li et al. 2026, arXiv 2604.12446).

Along the chain that the model itself walks, the same latents are also shown to the UNet with cross-attention scaled by
s. The offset z(s, t) is |e_s - e| / |e| of the conditional half's predictions; the score of a prompt is the squared
Mahalanobis distance of its offsets to those of clean prompts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_defense_scaling_offset.params import ScalingOffsetParams
from bdm_kit_text_to_image.detection.one_class import Scorer, mahalanobis
from bdm_kit_text_to_image.detection.prompts import PromptStatistics
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.recording.chain import ChainOptions, ChainPart, by_step, walk


def statistics(ctx: Context, params: ScalingOffsetParams, model: Model) -> PromptStatistics:
    """The offsets, one number for each scale and step."""
    opened = load_model(model, ctx.device)
    options = ChainOptions(
        steps=params.steps, guidance=params.guidance, scales=tuple(params.scales), batch_size=params.batch_size
    )

    def measure(prompts: list[str]) -> Tensor:
        return by_step(walk(opened, prompts, ctx.seed, options), offsets).transpose(0, 1).flatten(1)

    def fit(clean: Tensor) -> Scorer:
        return mahalanobis(clean, params.shrinkage)

    return PromptStatistics(
        name="scaling-offset",
        columns=[f"scale {scale:g} at step {step}" for step in range(params.steps) for scale in params.scales],
        measure=measure,
        fit=fit,
        fitted=True,
    )


def offsets(part: ChainPart) -> Tensor:
    """z of each prompt for each scale: (N, scales)."""
    norm = part.noise.flatten(1).norm(dim=1).clamp(min=1e-12)
    return torch.stack([(scaled - part.noise).flatten(1).norm(dim=1) / norm for scaled in part.scaled], 1)
