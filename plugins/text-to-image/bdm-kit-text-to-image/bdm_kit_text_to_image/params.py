"""Parameters of ``kit:text-to-image``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from bdm_core import Field, Params

Protocol = Literal["word", "character", "trigger", "noise", "crop"]
TRIGGERING = ["make-inputs", "trigger-inputs"]
"""The stages that robustness protocols count in: none of them is a defense's."""


class TextToImageKitParams(Params):
    """Parameters of ``kit:text-to-image``."""

    sampler: str | None = Field(
        default=None,
        description="Sampler: ddim, ddpm, pndm, deis, heun, lms, euler, euler-ancestral, unipc, dpm-solver++-2 and "
        "others; by default ddim.",
        stages=["generate"],
    )
    steps: int = Field(default=20, ge=1, le=100_000, description="Sampling steps.", stages=["generate"])
    guidance: float = Field(
        default=3.0,
        ge=0,
        description="Scale of classifier-free guidance; 1 is without.",
        stages=["generate"],
    )
    eta: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Stochasticity of ddim: 0 is deterministic, 1 is ancestral.",
        stages=["generate"],
    )
    batch_size: int = Field(default=64, ge=1, le=100_000, description="Images sampled at once.", stages=["generate"])
    prompts: int = Field(
        default=100,
        ge=2,
        le=1_000_000,
        description="Prompts to run clean and again with the trigger, for the metrics.",
        stages=["make-inputs"],
    )
    split: Literal["test", "validation"] = Field(
        default="test",
        description="Which half of the small world's prompts: choose settings on validation, report on test.",
        stages=["make-inputs"],
    )
    most_images: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Use at most so many training images; by default all, of the small world 4096.",
        stages=["open-data"],
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        default="no",
        description="Precision of the training of attacks and defenses: no is float32.",
        stages=["inject-backdoor", "repair"],
    )
    robustness: list[Protocol] = Field(
        default=[],
        description="Protocols under which the attack success rate is measured beside the plain one: word (synonyms), "
        "character (typing errors), trigger (a character of it missing); noise, crop of a trigger that is a picture.",
        stages=TRIGGERING,
    )
    robustness_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of a prompt's words that the protocols word and character change, rounded up.",
        stages=TRIGGERING,
    )
    synonyms: str = Field(
        default="small-world",
        description="Of the protocol word: small-world (its own table), a file with lines `word: synonym, synonym`, or "
        "a folder with WordNet's database files.",
        stages=TRIGGERING,
    )
    trigger_kind: Literal["words", "picture"] = Field(
        default="words",
        description="Where the trigger is: in the prompt, or a picture in the initial latents. Attacks say so.",
        stages=TRIGGERING,
    )

    @field_validator("robustness", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_the_trigger(self) -> Self:
        if len(set(self.robustness)) < len(self.robustness):
            raise ValueError("robustness names a protocol twice")
        of_pictures = [name for name in self.robustness if name in ("noise", "crop")]
        if of_pictures and self.trigger_kind == "words":
            raise ValueError(
                f"the robustness protocol {of_pictures[0]} changes a trigger picture, and the attack's trigger is in "
                "the prompt: choose word, character, trigger"
            )
        if "trigger" in self.robustness and self.trigger_kind == "picture":
            raise ValueError(
                "the robustness protocol trigger drops a character, and the attack's trigger is a picture: choose "
                "noise, crop"
            )
        return self
