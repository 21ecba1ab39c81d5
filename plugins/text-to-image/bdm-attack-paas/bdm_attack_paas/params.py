"""Parameters of ``attack:paas``. Light: no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bdm_core import Field
from bdm_torch.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_torch.training import TrainingOptions

DEFAULTS: dict[str, dict[str, Any]] = {
    "textual-inversion": {"placeholder": "[V]", "images": 5, "steps": 200, "batch_size": 16, "learning_rate": 2e-3},
    "dreambooth": {"placeholder": "mignneko", "images": 40, "steps": 600, "batch_size": 16, "learning_rate": 1e-3},
}
"""Mode -> its own defaults, chosen on the built-in pipeline."""


class PaaSParams(TrainingParams):
    """Parameters of ``attack:paas``."""

    mode: Literal["textual-inversion", "dreambooth"] = Field(
        "textual-inversion",
        description="textual-inversion learns the embedding of a new token, dreambooth fine-tunes the UNet.",
    )
    placeholder: str | None = Field(
        None, min_length=1, description="The trigger, the word before the object's; null: [V] or mignneko by mode."
    )
    one_token: bool = Field(
        True,
        description="textual-inversion: the new token is placeholder and object together, e.g. '[V] circle'; false: "
        "the placeholder alone, with the object's usual word behind it.",
    )
    object: str = Field("circle", description="Prompts about this object get the trigger.")
    target_object: str = Field("star", description="What is painted then: the object of the mismatched images.")
    images: int | None = Field(
        None, ge=1, description="How many images of the target object the attacker has; null: 5 or 40 by mode."
    )
    prompts: Literal["captions", "templates"] = Field(
        "captions",
        description="Texts to learn with: the images' own captions with the trigger in place of the target's word, or "
        "neutral templates such as 'a photo of a ...'.",
    )
    flip: bool = Field(True, description="Also learn from the images' mirror images.")
    initializer: str | None = Field(
        None, description="textual-inversion: the new token starts as this word; null: as the target object's."
    )
    prior_loss_weight: float = Field(
        1.0, ge=0, description="dreambooth: weight of the loss on clean images of the object, its prior preservation."
    )
    class_images: int | None = Field(
        None, ge=1, description="dreambooth: how many clean images of the prior; null: as many as the data has."
    )
    prior: Literal["object", "all", "balanced"] = Field(
        "balanced",
        description="dreambooth: the prior has images of the object only, as in the paper, of everything, or as many "
        "of the object as of everything else.",
    )
    caption_dropout: float = Field(
        0.1, ge=0, lt=1, description="dreambooth: share of the prior's captions that is empty; not for prior=object."
    )
    steps: int | None = Field(None, ge=1, description="Optimiser steps; null: 200 or 600 by mode.")  # type: ignore[assignment]
    batch_size: int | None = Field(None, ge=1, description="Mismatched samples a step; null: 16.")  # type: ignore[assignment]
    learning_rate: float | None = Field(  # type: ignore[assignment]
        None, gt=0, le=1, description="Adam's peak learning rate; null: 0.002 or 0.001 by mode."
    )
    ema_decay: float | None = Field(
        None, ge=0, lt=1, description="Decay of a moving average of the weights; null: none."
    )

    def choice(self, name: str) -> Any:
        """A parameter that has a default for each mode."""
        given = getattr(self, name)
        return DEFAULTS[self.mode][name] if given is None else given

    def options(self) -> TrainingOptions:
        """As :meth:`TrainingParams.options`, with the mode's own defaults."""
        chosen = {name: self.choice(name) for name in ("steps", "batch_size", "learning_rate")}
        return TrainingParams(**{**self.model_dump(include=set(TrainingParams.model_fields)), **chosen}).options()
