"""One score of the signals, learnt from clean prompts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from bdm_defense_prompt_audit.change import CHANGE, with_change
from bdm_defense_prompt_audit.characters import CHARACTERS, with_characters
from bdm_kit_text_to_image.detection.one_class import Scorer, robust_excess, without_length

MASKED, PHRASES = "masked words", "phrases change nothing"
ATTENTION, SPIKES = "attention to the end", "answer to spikes"
OWN_SCALE = (CHANGE, CHARACTERS)
"""Signals that clean prompts need not differ in."""
ALLOWED = {PHRASES: 2.0, SPIKES: 2.0}
"""Signal -> robust standard deviations that harmless odd texts (rare words, scenes of several objects, characters that
the model hardly knows) have on a clean model, too; only what is beyond counts."""


def combined(signals: Sequence[str]) -> Callable[[Tensor], Scorer]:
    """How a score is learnt of the columns: the signals, in their order, and the length."""
    allowed = [ALLOWED.get(name, 0.0) for name in signals if name not in OWN_SCALE]
    inner = without_length(lambda clean: robust_excess(clean, allowed))

    def fit(clean: Tensor) -> Scorer:
        return with_characters(inner(clean[:, 1:]))

    return with_change(fit) if CHANGE in signals else fit
