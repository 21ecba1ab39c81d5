"""DAA (Wang et al., TPAMI 2025, arXiv 2504.20518): dynamic attention analysis.

Both methods are in :mod:`bdm_kit_text_to_image.detection.attention_dynamics`; here is what their scores mean.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_defense_daa.params import DaaParams
from bdm_kit_text_to_image.detection.attention_dynamics import dynamics, individual_score, system_score
from bdm_kit_text_to_image.detection.one_class import Scorer, single
from bdm_kit_text_to_image.detection.prompts import PromptStatistics
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.recording.chain import ChainOptions

LAST_STEP = 6
"""DAA-I compares the maps of the first six steps; DAA-S looks at the first only."""


def statistics(ctx: Context, params: DaaParams, model: Model) -> PromptStatistics:
    """The one statistic, DAA-I's or DAA-S's, the paper's suspicious end up."""
    opened = load_model(model, ctx.device)
    whole = params.method == "individual"
    options = ChainOptions(
        steps=params.steps, until=LAST_STEP if whole else 1, guidance=params.guidance, batch_size=params.batch_size
    )

    def measure(prompts: list[str]) -> Tensor:
        maps = dynamics(opened, prompts, ctx.seed, options)
        if whole:
            scores = [individual_score(part, params.length_bias) for part in maps]
        else:
            scores = [system_score(part[0], not params.length_bias, params.time) for part in maps]
        return torch.tensor(scores, dtype=torch.float64)[:, None]

    fit = {"paper": single, "reversed": lowest, "both": far}[params.suspicious]
    return PromptStatistics(
        name=f"daa {params.method}",
        columns=["DAA-I" if whole else "DAA-S"],
        measure=measure,
        fit=fit,
        fitted=params.suspicious == "both",
    )


def lowest(clean: Tensor) -> Scorer:
    """Low statistics are suspicious."""
    return lambda values: -values[:, 0]


def far(clean: Tensor) -> Scorer:
    """The distance to the median of the clean prompts.

    >>> far(torch.tensor([[1.0], [2.0], [4.0]]))(torch.tensor([[0.0], [5.0]])).tolist()
    [2.0, 3.0]
    """
    middle = clean[:, 0].median()
    score: Callable[[Tensor], Tensor] = lambda values: (values[:, 0] - middle).abs()  # noqa: E731
    return score
