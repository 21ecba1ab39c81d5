"""NaviT2I (Zhai et al., ICCV 2025, arXiv 2503.06453): the score of a prompt.

Each word i of a prompt x that means something is masked, which gives x_i. With a_i the mean change of the UNet's
activations at the first denoising step, summed over its layers, and d_i that of the text embedding by an encoder that
is trusted, the score is max_i (a_i / d_i) over the mean of the lowest three quarters of these ratios.
"""

from __future__ import annotations

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_defense_navit2i.params import NaviT2IParams
from bdm_kit_text_to_image.detection.activation_variation import (
    embedding_distance,
    token_distance,
    variation_scores,
)
from bdm_kit_text_to_image.detection.prompts import PromptStatistics
from bdm_kit_text_to_image.models.bases import open_base
from bdm_kit_text_to_image.models.text_to_image_model import load_model


def statistics(ctx: Context, params: NaviT2IParams, model: Model) -> PromptStatistics:
    """The one statistic: max m over the mean of the lowest 75 % of m.

    Raises:
        UserError: the reference is no pipeline, or has other text encoders.
    """
    opened = load_model(model, ctx.device)
    if params.reference:
        distance = embedding_distance(open_base(params.reference, opened, ctx.work))
    else:
        distance = token_distance(opened) if params.distance == "token" else embedding_distance(opened)
    return PromptStatistics(
        name="navit2i",
        columns=["activation variation"],
        measure=lambda prompts: variation_scores(opened, prompts, ctx.seed, distance)[:, None],
    )
