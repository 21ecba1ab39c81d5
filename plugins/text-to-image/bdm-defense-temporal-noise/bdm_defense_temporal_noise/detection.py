"""The profile of a prompt's predicted noise over the steps (after TNC, arXiv 2602.01765).

Denoising a clean prompt, the predicted noise changes smoothly from step to step. The profile of a prompt is
|e_t - e_{t-1}| over sqrt(number of values), t = 1, ..., S - 1, with e_t the conditional half's prediction; its score is
the squared Mahalanobis distance to the profiles of clean prompts.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_defense_temporal_noise.params import TemporalNoiseParams
from bdm_kit_text_to_image.detection.one_class import Scorer, mahalanobis
from bdm_kit_text_to_image.detection.prompts import PromptStatistics
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.recording.chain import ChainOptions, ChainPart, walk


def statistics(ctx: Context, params: TemporalNoiseParams, model: Model) -> PromptStatistics:
    """The profile, S - 1 numbers a prompt."""
    opened = load_model(model, ctx.device)
    options = ChainOptions(steps=params.steps, guidance=params.guidance, batch_size=params.batch_size)

    def fit(clean: Tensor) -> Scorer:
        return mahalanobis(clean, params.shrinkage)

    return PromptStatistics(
        name="temporal-noise",
        columns=[f"change at step {step}" for step in range(1, params.steps)],
        measure=lambda prompts: profiles(walk(opened, prompts, ctx.seed, options)),
        fit=fit,
        fitted=True,
    )


def profiles(parts: Iterable[ChainPart]) -> Tensor:
    """Root mean square change of the conditional prediction at each step but the first: (N, S - 1)."""
    found: list[list[Tensor]] = []
    previous = None
    for part in parts:
        if part.step == 0:
            found.append([])
        else:
            assert previous is not None
            found[-1].append((part.noise - previous).flatten(1).square().mean(1).sqrt().cpu())
        previous = part.noise
    return torch.cat([torch.stack(batch, 1) for batch in found])
