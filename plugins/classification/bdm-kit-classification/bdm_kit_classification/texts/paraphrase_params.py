"""Parameters of attacks whose trigger is the form of a paraphrase. Light: no torch."""

from __future__ import annotations

from bdm_core.plugin import Field
from bdm_kit_classification.poison.params import PoisonParams


class ParaphraseParams(PoisonParams):
    """Who paraphrases, if anyone: a model folder, or a model behind an OpenAI-compatible endpoint."""

    paraphraser: str = Field(
        "", description="Folder of a sequence-to-sequence model of transformers that paraphrases; empty: none."
    )
    endpoint_model: str = Field(
        "", description="Instead, a model's name at an OpenAI-compatible endpoint that paraphrases; empty: none."
    )
    endpoint_url: str | None = Field(
        None, description="The endpoint's address up to /v1, e.g. http://localhost:11434/v1; null: OpenAI's own."
    )
    endpoint_key_variable: str | None = Field(
        None, description="Environment variable that holds the endpoint's key; null: as bdm-language-model has it."
    )
    instruction: str = Field("", description="What the model is told, before each text; empty: the attack's own words.")
    longest: int = Field(128, ge=4, le=4096, description="Tokens of the longest paraphrase by a model folder.")
