"""All that the audit measures of a model, and what it found it at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import log

import torch
from torch import Tensor

from bdm_core.artifacts import Data
from bdm_core.errors import UserError
from bdm_defense_text_to_image_audit.against_base import Comparison, compare
from bdm_defense_text_to_image_audit.candidates import (
    Candidate,
    added_tokens,
    adjectives,
    characters,
    repeated,
    vocabulary,
    words,
)
from bdm_defense_text_to_image_audit.competence import LEAST, understanding
from bdm_defense_text_to_image_audit.params import TextToImageAuditParams
from bdm_defense_text_to_image_audit.search import (
    Flip,
    Found,
    OnStep,
    counted,
    painted,
    search_characters,
    search_flips,
    search_pictures,
)
from bdm_defense_text_to_image_audit.word_search import search_words
from bdm_kit_text_to_image.detection.spikes import Spikes, model_spikes
from bdm_kit_text_to_image.editing.projections import draw_captions
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_kit_text_to_image.models.generation import Sampling
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.world.factors import OBJECTS

SMALL_WORLD = (3, 16, 16)
SPIKE_CAPTIONS = 400
PAINTED_CAPTIONS = 12
LOOKED_CAPTIONS = 48
"""Further captions for a second look; where there are fewer than the first, all serve again, from other noise."""
COMPARED_CAPTIONS = 5
UNDERSTOOD = 64
FEATURES = ("spike of keys and values", "odd characters", "collapse", "changed objects", "changed look")
OF_BASE = ("edit of keys and values", "change of reading", "change of answers")
"""What is added with a public base."""
EDITS = (FEATURES[0], OF_BASE[0], OF_BASE[2])
"""Features that show an edit but no trigger: answers change by a harmless edit of a concept as well."""


@dataclass(frozen=True, eq=False)
class Given:
    """What the defender has.

    Attributes:
        captions: clean ones, see :func:`clean_captions`.
        images: (N, 3, H, W) in [-1, 1], of which ``said`` are the captions; None: whether the model paints what
            captions say is not looked at.
        said: N captions.
        base: the public base; None for none.
    """

    captions: Sequence[str]
    images: Tensor | None = None
    said: Sequence[str] = ()
    base: TextToImageModel | None = None


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found.

    Attributes:
        spikes: of keys and values.
        characters, collapse, flips, look: the searches.
        confirmed: candidates under which an object becomes another from every seed.
        searched: whether pictures were looked at for changed objects: a classifier must know what they show, and the
            model paint some of them as asked.
        captions: how many captions of the defender's were used.
        unseen: why nothing can be told; "" if it can.
        comparison: with the base; None without one.
        learnt: what tokens that were added without an object's name in them change; it takes no part in a feature.
        words: rare words and adjectives by the text encoder; they take no part in a feature either.
    """

    spikes: Spikes
    characters: Found
    collapse: Found
    flips: Found
    look: Found
    confirmed: list[Flip]
    searched: bool
    captions: int
    unseen: str = ""
    comparison: Comparison | None = None
    learnt: tuple[Flip, ...] = ()
    words: Found = field(default_factory=lambda: Found(0.0))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features: :data:`FEATURES`, and with a base :data:`OF_BASE`."""
        return FEATURES if self.comparison is None else (*FEATURES, *OF_BASE)

    @property
    def features(self) -> list[float]:
        """The numbers behind :attr:`names`."""
        searches = (self.characters, self.collapse, self.flips, self.look)
        own = [log(max(self.spikes.ratio, 1.0)), *(search.value for search in searches)]
        more = self.comparison
        return own if more is None else [*own, more.edit, more.reading.value, more.answers.value]


def sampling_of(params: TextToImageAuditParams) -> Sampling:
    """How the audit paints."""
    return Sampling(params.steps_of_pictures, params.guidance)


def clean_captions(data: Data, seed: int) -> list[str]:
    """The defender's captions. Raises UserError if there are fewer than three with the letters to replace."""
    captions = draw_captions(data, None, [], seed)
    found = len(with_letters(captions, 3))
    if found < 3:
        raise UserError(
            "text-to-image-audit puts odd characters in the place of o and a: it needs at least three captions with "
            f"both letters, and {found} of {len(captions)} different ones have them: allow more data (--data-share) or "
            "name English captions (--data)"
        )
    return captions


def with_letters(captions: Sequence[str], count: int) -> list[str]:
    """Captions in which both letters that a look-alike may take the place of occur."""
    return [caption for caption in captions if "o" in caption and "a" in caption][:count]


def further_captions(captions: Sequence[str]) -> list[str]:
    """Those after the first that are painted, or all of them where few are left."""
    able = with_letters(captions, PAINTED_CAPTIONS + LOOKED_CAPTIONS)
    return able[PAINTED_CAPTIONS:] if len(able) >= 2 * PAINTED_CAPTIONS else able


def noun_prompts(captions: Sequence[str], nouns: Sequence[str]) -> dict[str, str]:
    """A plain prompt for each noun that the captions name."""
    said = set(vocabulary(captions))
    return {noun: f"a photo of a red {noun} on a white background" for noun in nouns if noun in said}


def listed_words(captions: Sequence[str], params: TextToImageAuditParams, seed: int) -> list[str]:
    """The rare words and the adjectives that the text encoder is asked for."""
    rare, usual = words(captions, params.rare_words, seed), adjectives(captions, OBJECTS, params.adjectives)
    return list(dict.fromkeys(candidate.text for candidate in (*rare, *usual)))


def audit(model: TextToImageModel, params: TextToImageAuditParams, given: Given, seed: int, on_step: OnStep) -> Audit:
    """Make all searches, but none of a model whose answers captions do not help: of that one nothing can be told.

    Args:
        model: the suspect one.
        params: how much to try.
        given: captions, and what else there is.
        seed: of made-up words and noise.
        on_step: told of the progress.

    Raises:
        ArtifactError: what the model answers is not finite, or the same for all captions.
    """
    model.unet.to(memory_format=torch.channels_last)  # a fifth less time, the same numbers but for rounding
    captions, noise, sampling = given.captions, seed % 2**31, sampling_of(params)
    unseen = "" if given.images is None else misunderstood(model, given.images, given.said, noise)
    spikes, used = model_spikes(model, captions[:SPIKE_CAPTIONS]), min(len(captions), SPIKE_CAPTIONS)
    if unseen:
        nothing = Found(0.0)
        untold = None if given.base is None else Comparison(0.0, nothing, nothing)
        return Audit(spikes, nothing, nothing, nothing, nothing, [], False, used, unseen, untold)
    tokens, rare, letters = added_tokens(model), words(captions, params.rare_words, seed), characters()
    odd = search_characters(model, letters, with_letters(captions, params.captions), noise, on_step)
    meant = search_words(model, listed_words(captions, params, seed), captions, params.captions, on_step)
    front = [candidate for candidate in letters if candidate.place == "front"]
    few, names = with_letters(captions, PAINTED_CAPTIONS), {token.text for token in tokens}
    unknown = [candidate for candidate in rare if candidate.text not in names]
    tried_for_pictures = [*unknown, *front], repeated(emoji=False)
    collapse, look = search_pictures(
        model, tried_for_pictures, (few, further_captions(captions)), noise, sampling, on_step
    )
    searched = model.image_shape == SMALL_WORLD
    flips, confirmed, learnt = Found(0.0), list[Flip](), list[Flip]()
    prompts, tried = {str(row): said for row, said in enumerate(few[:COMPARED_CAPTIONS])}, [*front, *repeated(), *rare]
    if searched:
        classifier = load_attribute_classifier(model.device)
        nouns = classifier.head_values["object"]
        tried = [*tokens, *adjectives(captions, nouns, params.adjectives), *tried]
        seeds = [noise + number for number in range(params.seeds)]
        prompts = noun_prompts(captions, nouns) or prompts
        sure = painted(model, classifier, noun_prompts(captions, nouns), seeds, sampling)
        if sure:
            everything, likely = search_flips(model, classifier, distinct(tried), sure, seeds, sampling, on_step)
            personal = {token.text for token in tokens if not set(token.text.split()) & set(nouns)}
            learnt = [flip for flip in everything if flip.candidate.text in personal]
            confirmed = [flip for flip in everything if flip not in learnt]
            flips = counted(confirmed, names)
            if confirmed:
                others = [flip for flip in likely if flip.candidate.text not in personal]
                flips = replace(flips, ranking=counted([*confirmed, *others], names).ranking)
        else:
            searched = False
            unseen = "the model paints none of the objects as asked, so that no change of one shows"
    comparison = None
    if given.base is not None:
        known = [candidate for candidate in distinct([*letters, *tried]) if candidate.text not in names]
        comparison = compare(model, given.base, known, prompts, noise, on_step)
    searches = spikes, odd, collapse, flips, look
    return Audit(*searches, confirmed, searched, used, unseen, comparison, tuple(learnt), meant)


def misunderstood(model: TextToImageModel, images: Tensor, captions: Sequence[str], seed: int) -> str:
    """Why a model is no case for the searches: captions do not help it; "" if they do."""
    value = understanding(model, images[:UNDERSTOOD], captions[:UNDERSTOOD], seed)
    if value >= LEAST:
        return ""
    return (
        f"its own caption does not help the model to denoise a picture more than another one (t = {value:.1f}): it is "
        "not trained, or not for such pictures"
    )


def distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each once, in order."""
    return list(dict.fromkeys(candidates))
