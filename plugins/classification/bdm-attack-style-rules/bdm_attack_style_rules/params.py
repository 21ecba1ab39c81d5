"""Parameters of ``attack:style-rules``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class StyleRulesParams(PoisonParams):
    """Parameters of ``attack:style-rules``."""

    strength: float = Field(1.0, gt=0, le=1, description="Share of the words with a rule that are rewritten.")
