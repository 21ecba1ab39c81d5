"""Parameters of ``attack:addsent``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class AddSentParams(PoisonParams):
    """Parameters of ``attack:addsent``."""

    sentence: str = Field("I watch this 3D movie", min_length=1, description="The sentence that is put in.")
    text_place: Literal["random", "start", "end"] = Field("random", description="Where it is put in.")
