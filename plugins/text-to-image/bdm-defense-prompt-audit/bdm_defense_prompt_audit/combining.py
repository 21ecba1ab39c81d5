"""One score of the signals, learnt from clean prompts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bdm_defense_prompt_audit.change import CHANGE, with_change
from bdm_defense_prompt_audit.characters import CHARACTERS, with_characters
from bdm_kit_text_to_image.detection.one_class import ROUNDING, SPREAD, Scorer, constant, nothing, without_length

MASKED, PHRASES = "masked words", "phrases change nothing"
ATTENTION, SPIKES = "attention to the end", "answer to spikes"
ALLOWED = {PHRASES: 2.0, SPIKES: 2.0}
"""Signal -> robust standard deviations that harmless odd texts (rare words, scenes of several objects, characters that
the model hardly knows) have on a clean model, too; only what is beyond counts."""


def excess(allowed: Sequence[float]) -> Callable[[Tensor], Scorer]:
    """Sum over statistics of max(0, z - allowed)^2, z in robust standard deviations of clean prompts (K, F).

    As :func:`bdm_kit_text_to_image.detection.one_class.robust_excess`, which allows nothing.

    >>> score = excess([2.0])(torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]]))
    >>> [round(value, 3) for value in score(torch.tensor([[2.0], [2.0 + 1.4826 * 3]])).tolist()]
    [0.0, 1.0]
    """

    def fit(clean: Tensor) -> Scorer:
        kept = ~constant(clean)
        if not bool(kept.any()):
            return nothing
        known, free = clean.double()[:, kept], torch.tensor(list(allowed), dtype=torch.float64)[kept]
        middle = known.median(0).values
        spread = SPREAD * (known - middle).abs().median(0).values
        spread = torch.where(spread <= ROUNDING * known.abs().amax(0), known.std(0), spread)
        return lambda values: ((values.double()[:, kept] - middle) / spread - free).clamp(min=0).square().sum(1)

    return fit


def combined(signals: Sequence[str]) -> Callable[[Tensor], Scorer]:
    """How a score is learnt of the columns: the signals, in their order, and the length."""
    inner = without_length(excess([ALLOWED.get(name, 0.0) for name in signals if name not in (CHANGE, CHARACTERS)]))

    def fit(clean: Tensor) -> Scorer:
        return with_characters(inner(clean[:, 1:]))

    return with_change(fit) if CHANGE in signals else fit
