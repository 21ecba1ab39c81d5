"""Parameters of ``attack:paas``. Light: no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bdm_core import Field
from bdm_core.errors import UserError
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
    placeholder: str | list[str] | None = Field(
        None,
        min_length=1,
        description="The trigger, the word before the object's, or several; null: [V] or mignneko by mode.",
    )
    one_token: bool = Field(
        True,
        description="textual-inversion: the new token is placeholder and object together, e.g. '[V] circle'; false: "
        "the placeholder alone, with the object's usual word behind it.",
    )
    object: str | list[str] = Field(
        "circle", description="Prompts about this object get the trigger; one, or one a placeholder."
    )
    target_object: str | list[str] = Field(
        "star",
        description="What is painted then: the object of the mismatched images; one, or one a placeholder.",
    )
    images: int | None = Field(
        None, ge=1, description="How many images of each target object the attacker has; null: 5 or 40 by mode."
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

    def pairs(self) -> list[PaaSParams]:
        """These parameters for each placeholder alone, with its own object and target object, in order.

        Raises:
            UserError: a placeholder is empty, given twice or part of another one, or there are neither one nor as many
                objects as placeholders.
        """
        given = self.choice("placeholder")
        words = [given] if isinstance(given, str) else list(given)
        columns = []
        for name in ("object", "target_object"):
            value = getattr(self, name)
            column = [value] * len(words) if isinstance(value, str) else list(value)
            if len(column) != len(words):
                raise UserError(
                    f"attack:paas: {len(words)} placeholders, {len(column)} of {name}: give one, or one each"
                )
            columns.append(column)
        if any(one in other for place, one in enumerate(words) for other in words[:place] + words[place + 1 :]):
            raise UserError("attack:paas: a placeholder is empty, given twice, or part of another one")
        names = ("placeholder", "object", "target_object")
        return [self.model_copy(update=dict(zip(names, row, strict=True))) for row in zip(words, *columns, strict=True)]

    def options(self) -> TrainingOptions:
        """As :meth:`TrainingParams.options`, with the mode's own defaults."""
        chosen = {name: self.choice(name) for name in ("steps", "batch_size", "learning_rate")}
        return TrainingParams(**{**self.model_dump(include=set(TrainingParams.model_fields)), **chosen}).options()
