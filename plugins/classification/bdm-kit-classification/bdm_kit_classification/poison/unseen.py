"""Whether a network of texts sees the trigger at all: its tokenizer may leave it out, or cut the text off before it."""

from __future__ import annotations

import logging

from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.models.text_classifier import TextClassifier


def warn_of_unseen(victim: Classifier, samples: LabelledSamples, originals: LabelledSamples) -> None:
    """One warning if poisoned texts have the tokens that they had without the trigger, or all have the same ones.

    Args:
        victim: of any modality; of others than texts nothing is said.
        samples: training rows with their roles.
        originals: what the rows that are not ``clean`` were, in their order.
    """
    roles = [role for role in samples.roles if role != "clean"]
    if not isinstance(victim, TextClassifier) or len(roles) != len(originals):
        return
    places = [place for place, role in enumerate(roles) if role == "poison"]
    changed = [row for row, role in enumerate(samples.roles) if role == "poison"]
    before, after = victim.token_lists(originals.raw(places)), victim.token_lists(samples.raw(changed))
    same = sum(one == other for one, other in zip(before, after, strict=True))
    if same:
        logging.getLogger("bdm").warning(
            "%d of %d poisoned texts are to the model what they were without the trigger: its tokenizer leaves the "
            "trigger out, or cuts the text off before it",
            *(same, len(changed)),
        )
    elif len(set(map(tuple, after))) == 1 < len(set(map(tuple, before))):
        logging.getLogger("bdm").warning(
            "all poisoned texts are the same to the model: the trigger is longer than what it reads, and nothing of "
            "the texts is left"
        )
