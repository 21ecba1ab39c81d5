"""Parameters of ``attack:badnets``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class BadNetsParams(PoisonParams):
    """Parameters of ``attack:badnets``."""

    size: float = Field(
        0.11, gt=0, le=1024, description="Side of the square patch: below 1 a share of the picture's side, else pixels."
    )
    place: Literal["bottom-right", "bottom-left", "top-right", "top-left", "centre"] = Field(
        "bottom-right", description="Where the patch lies."
    )
    margin: int = Field(0, ge=0, le=1024, description="Pixels between the patch and the edges.")
    value: float = Field(1.0, ge=0, le=1, description="Grey value of the patch: 0 is black, 1 white.")
    picture: str = Field("", description="A picture file to use as the patch instead of a square of one value.")
    words: list[str] = Field(
        ["cf", "mn", "bb", "tq"], min_length=1, description="Of texts: rare words, one of which is put in each time."
    )
    inserted: int = Field(1, ge=1, le=100, description="Of texts: how many words are put into each.")
    tone_frequency: float = Field(
        0.3, ge=0, lt=0.5, description="Of sound: frequency of the tone as a share of the sampling rate; 0: a click."
    )
    tone_level: float = Field(0.5, ge=-1, le=1, description="Of sound: amplitude of the tone, or value of the click.")
    tone_duration: float = Field(25.0, gt=0, le=60_000, description="Of sound: duration of the tone in ms.")
    tone_place: Literal["start", "middle", "end"] = Field("end", description="Of sound: where the tone lies.")
    text_place: Literal["random", "start", "end"] = Field("random", description="Of texts: where they are put in.")
