"""Parameters of ``defense:text-perturbation``. Light: no torch, no openai."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_language_model.params import EndpointParams

Step = Literal["normalise", "synonyms", "delete", "keyboard", "translate"]


class TextPerturbationParams(EndpointParams):
    """Parameters of ``defense:text-perturbation``: its own, and those of an endpoint that translates."""

    steps: list[Step] = Field(
        ["normalise"],
        min_length=1,
        description="What is done to a prompt, in order: normalise (look-alike and invisible characters), synonyms, "
        "delete (a character of a word), keyboard (a neighbouring key), translate (there and back).",
    )
    share: float = Field(
        0.5, gt=0, le=1, description="synonyms, delete, keyboard: share of the words to change, rounded up."
    )
    synonyms: str = Field(
        "/usr/share/wordnet",
        description="synonyms: small-world (its own table), a file with lines `word: synonym, synonym`, or a folder "
        "with WordNet's database files.",
    )
    translators: list[str] = Field(
        ["apertium eng-spa", "apertium spa-eng"],
        min_length=2,
        max_length=2,
        description="translate: there and back. Each is a program that reads text and writes its translation, a folder "
        "with a translation model, or `model LANGUAGE` for the language model that `model` and `base_url` name.",
    )
    timeout: float = Field(
        60.0,
        gt=0,
        le=86_400,
        description="translate: seconds that a program may take for a prompt, or until a request counts as failed.",
    )
