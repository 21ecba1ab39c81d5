"""BlackMirror (Li, Xu, Bao, Yang, Zhao, Cao, Huang, CVPR 2026, arXiv 2603.05921): what a picture shows that its prompt
does not ask for, and the other way round.

A prompt's picture has new things and lacks others; both happen to honest models, too. So the prompt is written again
without the things that came out right, and further pictures are generated from it: what a trigger put there stays, what
chance put there does not. The model is a black box.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_blackmirror.attribute_oracle import AttributeOracle
from bdm_defense_blackmirror.elements import Oracle, Thing, difference
from bdm_defense_blackmirror.model_oracle import ModelOracle
from bdm_defense_blackmirror.params import BlackMirrorParams
from bdm_kit_text_to_image.detection.prompts import PromptStatistics
from bdm_kit_text_to_image.judging.attributes import (
    BUILTIN_ATTRIBUTES,
    load_attribute_classifier,
    require_attribute_classifier,
)
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, seal_prompts
from bdm_language_model.asking import LanguageModel
from bdm_language_model.endpoint import require_endpoint
from bdm_torch.image_sets import load_images

LARGEST_SEED = 2**31 - 1000
KINDS = ("object", "style", "patch")
NAME = "blackmirror"


def require_oracle(params: BlackMirrorParams) -> None:
    """Refuse an oracle that cannot be asked, before anything is trained; nothing is sent.

    Raises:
        UserError: no model is named for ``oracle=model``, its key is missing, or the classifier cannot be opened.
    """
    if params.oracle == "attributes":
        require_attribute_classifier(params.classifier)
        return
    if not params.model:
        raise UserError("blackmirror with oracle=model needs a model: set defense:blackmirror.model, and base_url")
    require_endpoint(params, "defense:blackmirror")


@contextmanager
def opened_oracle(ctx: Context, params: BlackMirrorParams) -> Iterator[Oracle]:
    """The oracle that the parameters name; what a model was asked is kept with the stage.

    Raises:
        UserError: no model is named for ``oracle=model``, or the classifier cannot be opened.
    """
    if params.oracle == "attributes":
        folder = BUILTIN_ATTRIBUTES if params.classifier is None else Path(params.classifier).expanduser()
        yield AttributeOracle(load_attribute_classifier(ctx.device, folder), 512)
        return
    require_oracle(params)
    with LanguageModel(params) as model:
        yield ModelOracle(model, params.votes, params.least_side)
        ctx.figures(model=model.usage())


@contextmanager
def statistics(ctx: Context, params: BlackMirrorParams) -> Iterator[PromptStatistics]:
    """What is measured of a prompt, with its oracle open."""
    with opened_oracle(ctx, params) as oracle:
        yield statistics_of(ctx, params, oracle)


def statistics_of(ctx: Context, params: BlackMirrorParams, oracle: Oracle) -> PromptStatistics:
    """The stability of a prompt's differences: the largest, in [0, 1], and beside it that of each kind."""
    seed = random.Random(f"noise {ctx.seed}").randrange(LARGEST_SEED)
    number = itertools.count()

    def generate(rows: Sequence[PromptRow]) -> Tensor:
        return load_images(ctx.query(seal_prompts(ctx.work / f"mirror-{next(number)}", rows)))

    def measure(prompts: list[str]) -> Tensor:
        asked = oracle.asked(prompts)
        images = generate([PromptRow(prompt, seed) for prompt in prompts])
        seen = oracle.seen(images, asked)
        found = [difference(*pair) for pair in zip(asked, seen, strict=True)]
        places = [row for row, one in enumerate(found) if one.things]
        values = torch.zeros(len(prompts), 1 + len(KINDS), dtype=torch.float64)
        if not places:
            return values
        rewritten = oracle.without([prompts[row] for row in places], [found[row].safe for row in places])
        seeds = range(seed + 1, seed + 1 + params.images)
        mirrors = generate([PromptRow(prompt, one) for prompt in rewritten for one in seeds])
        chances = oracle.shown(mirrors, [found[row].things for row in places for _ in seeds])
        for place, row in enumerate(places):
            own = chances[place * params.images : (place + 1) * params.images]
            values[row, 1:] = stability(found[row].new, found[row].lost, own)
        values[:, 0] = values[:, 1:].amax(1)
        return values

    return PromptStatistics(name=NAME, columns=["stability", *KINDS], measure=measure, apart=KINDS)


def stability(new: Sequence[Thing], lost: Sequence[Thing], chances: Sequence[Sequence[float | None]]) -> Tensor:
    """How steadily a prompt's differences come again: for each kind the largest value, (3,) in [0, 1].

    Of a new thing the mean probability that a picture shows it, of a lost one that it does not; pictures of which
    nothing is known are left out.

    Args:
        new: things that the first picture has and should not.
        lost: things that it has not and should.
        chances: for each further picture the probability of each thing, the new ones first.

    >>> stability([Thing("object", "cat")], [Thing("object", "dog")], [[0.5, 0.0], [1.0, 0.0]]).tolist()
    [1.0, 0.0, 0.0]
    """
    found = torch.zeros(len(KINDS), dtype=torch.float64)
    for place, thing in enumerate([*new, *lost]):
        known = [row[place] for row in chances if row[place] is not None]
        if not known:
            continue
        mean = sum(value for value in known if value is not None) / len(known)
        kind = KINDS.index(thing.kind)
        found[kind] = max(float(found[kind]), mean if place < len(new) else 1 - mean)
    return found
