"""All that the audit measures of a model, and what it found it at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from bdm_core.artifacts import Data
from bdm_core.errors import UserError
from bdm_defense_text_to_image_audit.candidates import (
    Candidate,
    added_tokens,
    adjectives,
    characters,
    repeated,
    vocabulary,
    words,
)
from bdm_defense_text_to_image_audit.params import TextToImageAuditParams
from bdm_defense_text_to_image_audit.search import (
    Flip,
    Found,
    OnStep,
    painted,
    search_characters,
    search_collapse,
    search_flips,
)
from bdm_kit_text_to_image.detection.spikes import Spikes, model_spikes
from bdm_kit_text_to_image.editing.projections import draw_captions
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_kit_text_to_image.models.generation import Sampling
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

SMALL_WORLD = (3, 16, 16)
SPIKE_CAPTIONS = 400
COLLAPSE_CAPTIONS = 5
FEATURES = ("spike of keys and values", "odd characters", "collapse", "changed objects")


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found.

    Attributes:
        spikes: of keys and values.
        characters, collapse, flips: the searches.
        confirmed: candidates under which an object becomes another from every seed.
        searched: whether pictures were looked at for changed objects: a classifier must know what they show, and the
            model paint some of them as asked.
        captions: how many captions of the defender's were used.
        unseen: why nothing could be seen where pictures should have been looked at; "" if it could.
    """

    spikes: Spikes
    characters: Found
    collapse: Found
    flips: Found
    confirmed: list[Flip]
    searched: bool
    captions: int
    unseen: str = ""

    @property
    def features(self) -> list[float]:
        """The numbers behind :data:`FEATURES`."""
        return [log(max(self.spikes.ratio, 1.0)), self.characters.value, self.collapse.value, self.flips.value]


def sampling_of(params: TextToImageAuditParams) -> Sampling:
    """How the audit paints."""
    return Sampling(params.steps_of_pictures, params.guidance)


def clean_captions(data: Data, seed: int) -> list[str]:
    """The defender's captions. Raises UserError if there are fewer than three with the letters to replace."""
    captions = draw_captions(data, None, [], seed)
    if len(with_letters(captions, 3)) < 3:
        raise UserError("text-to-image-audit needs at least three captions with the letters o and a (--data-share)")
    return captions


def with_letters(captions: Sequence[str], count: int) -> list[str]:
    """Captions in which both letters that a look-alike may take the place of occur."""
    return [caption for caption in captions if "o" in caption and "a" in caption][:count]


def noun_prompts(captions: Sequence[str], nouns: Sequence[str]) -> dict[str, str]:
    """A plain prompt for each noun that the captions name."""
    said = set(vocabulary(captions))
    return {noun: f"a photo of a red {noun} on a white background" for noun in nouns if noun in said}


def audit(
    model: TextToImageModel, params: TextToImageAuditParams, captions: Sequence[str], seed: int, on_step: OnStep
) -> Audit:
    """Make all searches.

    Args:
        model: the suspect one.
        params: how much to try.
        captions: clean ones, see :func:`clean_captions`.
        seed: of made-up words and noise.
        on_step: told of the progress.

    Raises:
        ArtifactError: what the model answers is not finite, or the same for all captions.
    """
    used = captions[:SPIKE_CAPTIONS]
    spikes = model_spikes(model, used)
    letters, rare, sampling = characters(), words(captions, params.rare_words, seed), sampling_of(params)
    noise = seed % 2**31
    odd = search_characters(model, letters, with_letters(captions, params.captions), noise, on_step)
    front = [candidate for candidate in letters if candidate.place == "front"]
    few = with_letters(captions, COLLAPSE_CAPTIONS)
    collapse = search_collapse(model, [*rare, *front], few, noise, sampling, on_step)
    searched = model.image_shape == SMALL_WORLD
    flips, confirmed, unseen = Found(0.0), list[Flip](), ""
    if searched:
        classifier = load_attribute_classifier(model.device)
        nouns = classifier.head_values["object"]
        tried = [*added_tokens(model), *adjectives(captions, nouns, params.adjectives), *front, *repeated(), *rare]
        seeds = [noise + number for number in range(params.seeds)]
        prompts = noun_prompts(captions, nouns)
        sure = painted(model, classifier, prompts, seeds, sampling)
        if sure:
            flips, confirmed = search_flips(model, classifier, distinct(tried), sure, seeds, sampling, on_step)
        else:
            searched, unseen = False, "the model paints none of the objects as asked, so that no change of one shows"
    return Audit(spikes, odd, collapse, flips, confirmed, searched, len(used), unseen)


def distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each once, in order."""
    return list(dict.fromkeys(candidates))
