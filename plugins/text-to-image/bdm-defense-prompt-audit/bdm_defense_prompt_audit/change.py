"""How far a model's pictures of a prompt are from those that its public base makes of the same noise.

Further training on clean pictures changes all prompts a little, and some, whose picture hangs by a thread, much: but
not from every noise. A trigger changes the picture from every noise, so the least change of several is taken.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_defense_prompt_audit.params import PromptAuditParams
from bdm_kit_text_to_image.detection.one_class import SPREAD, Scorer
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

CHANGE = "change from the base"
LARGEST_SEED = 2**31
GREY_LEVEL = 1 / 255
"""Clean prompts vary by at least so much: where a model is its base but for the trigger they do not vary at all."""


def change(
    ctx: Context, params: PromptAuditParams, opened: TextToImageModel, base: TextToImageModel, prompts: list[str]
) -> Tensor:
    """Root mean square of the difference of the two pictures, the least over the noises: (N,), in [0, 1]."""
    how = Sampling(params.change_steps, params.guidance, batch_size=params.batch_size)
    found = []
    for number in range(params.change_noises):
        seeds = [(ctx.seed + number) % LARGEST_SEED] * len(prompts)
        mine, theirs = (generate_images(model, prompts, seeds=seeds, sampling=how) for model in (opened, base))
        found.append((mine.double() - theirs.double()).square().flatten(1).mean(1).sqrt())
    return torch.stack(found).amin(0)


def with_change(others: Callable[[Tensor], Scorer]) -> Callable[[Tensor], Scorer]:
    """A way to score the other statistics, and to its scores the square of what the change, the first one, exceeds.

    In robust standard deviations of clean prompts, of one grey level at least, and without a line in the length.

    >>> score = with_change(lambda clean: lambda values: values[:, 0])(torch.zeros(4, 2))
    >>> [round(value) for value in score(torch.tensor([[2 / 255, 1.0], [-1.0, 0.0]], dtype=torch.float64)).tolist()]
    [5, 0]
    """

    def fit(clean: Tensor) -> Scorer:
        inner, known = others(clean[:, 1:]), clean[:, 0].double()
        middle = known.median()
        spread = (SPREAD * (known - middle).abs().median()).clamp(min=GREY_LEVEL)
        return lambda values: inner(values[:, 1:]) + ((values[:, 0].double() - middle) / spread).clamp(min=0).square()

    return fit
