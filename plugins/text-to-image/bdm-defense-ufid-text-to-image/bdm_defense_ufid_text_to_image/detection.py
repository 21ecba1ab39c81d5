"""UFID on prompts (Guan, Hu, Li, Vullikanti, AAAI 2025, arXiv 2404.01101).

A query and its copies, each with another phrase, are generated from the same initial noise; the pictures are the
vertices of a graph, the cosines of their features the weights of its edges; its density, the mean weight, is high where
a trigger decides what is painted. The model is a black box.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from torch import Tensor

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_ufid_text_to_image.params import UfidParams
from bdm_kit_text_to_image.detection.phrases import phrase_pool, with_phrases
from bdm_kit_text_to_image.detection.prompts import PromptStatistics, split_captions
from bdm_kit_text_to_image.judging.features import feature_space
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, seal_prompts
from bdm_torch.diversity import densities
from bdm_torch.image_sets import load_images

LARGEST_SEED = 2**31


def statistics(ctx: Context, params: UfidParams, data: Data, judged: Sequence[str]) -> PromptStatistics:
    """The density of each prompt's graph. No phrase is one of the prompts that are ``judged``.

    Raises:
        UserError: there are no captions to take phrases from, or the features are unknown.
    """
    phrases = chosen_phrases(params, data, judged, ctx.seed)
    seed = random.Random(f"noise {ctx.seed}").randrange(LARGEST_SEED)
    asked = [0]

    def measure(prompts: list[str]) -> Tensor:
        copies = [copy for prompt in prompts for copy in with_phrases(prompt, phrases, params.place)]
        asked[0] += 1
        rows = seal_prompts(ctx.work / f"copies-{asked[0]}", [PromptRow(copy, seed) for copy in copies])
        images = load_images(ctx.query(rows))
        features = feature_space(params.features, tuple(images.shape[1:]), ctx.device)
        return densities(features(images).unflatten(0, (len(prompts), len(phrases) + 1)))[:, None]

    return PromptStatistics(name="ufid", columns=["density"], measure=measure)


def chosen_phrases(params: UfidParams, data: Data, judged: Sequence[str], seed: int) -> list[str]:
    """The phrases: given ones, or short captions that calibrate nothing and are not judged. Raises UserError: none."""
    if params.phrases:
        return params.phrases[: params.copies]
    calibrating, spare = split_captions(params, data, judged, seed)
    found = phrase_pool(None, spare, params.copies)
    if not found:
        raise UserError(
            f"ufid needs phrases, and no caption is left beside the {len(calibrating)} that calibrate and the "
            "suspects: give phrases, allow the defender more data (--data-share) or lower clean_prompts"
        )
    return found
