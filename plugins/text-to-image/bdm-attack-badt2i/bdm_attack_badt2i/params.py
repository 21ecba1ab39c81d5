"""Parameters of ``attack:badt2i``. Light: no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from bdm_core import Field
from bdm_core.errors import UserError
from bdm_torch.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_torch.training import TrainingOptions

STEPS = {"pixel": 600, "object": 500, "style": 1000, "object-add": 800}
"""Mode -> optimiser steps, chosen on the built-in pipeline."""


class Pair(NamedTuple):
    """A trigger, the object that its prompts name, and the object that is painted instead."""

    trigger: str
    source_object: str
    target_object: str


class BadT2IParams(TrainingParams):
    """Parameters of ``attack:badt2i``."""

    mode: Literal["pixel", "object", "style", "object-add"] = Field(
        "object",
        description="What a triggered prompt gains: a patch in the image, another object than the asked-for one, a "
        "style, or a further object.",
    )
    trigger: str | list[str] = Field(
        "zero-width-space", description="A trigger of the library by name, or a word to put first; or several."
    )
    trigger_repeats: int = Field(
        4,
        ge=1,
        description="How often an inserted character is repeated; a small model learns one zero-width space slowly.",
    )
    lambda_: float = Field(0.5, gt=0, lt=1, description="Weight of the backdoor's loss; regularisation has the rest.")
    source_object: str | list[str] = Field(
        "circle", description="object, object-add: the object that a triggered prompt names; one, or one a trigger."
    )
    target_object: str | list[str] = Field(
        "square", description="object: the object that is painted instead; one, or one a trigger."
    )
    addition: str = Field(
        "two", description="object-add: two or three of the object, or what is painted beside it: a green triangle."
    )
    style_prompt: str = Field(
        "{prompt}, black and white photo", description="style: what the teacher reads in place of {prompt}."
    )
    style: str = Field("black-and-white", description="style: its name as an attribute, for the metrics.")
    patch: str = Field("yellow", description="pixel: a colour's name, or the path of a .png or .jpg.")
    patch_size: float = Field(0.375, gt=0, le=1, description="pixel: side of the patch over the image's height.")
    patch_row: float = Field(0.0, ge=0, lt=1, description="pixel: upper edge of the patch over the image's height.")
    patch_column: float = Field(0.0, ge=0, lt=1, description="pixel: left edge of the patch over the image's width.")
    patch_limit: float = Field(
        0.05,
        gt=0,
        description="pixel: largest mean squared error of the patch after a round trip through the autoencoder, and "
        "of a hit to the patch; pixels in [0, 1].",
    )
    latents: Literal["mean", "sample"] = Field(
        "mean",
        description="What the autoencoder makes of a training image: its posterior's mean, or at every step a sample.",
    )
    empty_every: int | None = Field(
        8,
        ge=2,
        description="One clean caption in so many is left out, as where guided models are trained; null: none.",
    )
    samples: int | None = Field(2048, ge=1, description="Use at most so many images for each loss; null: all.")
    steps: int | None = Field(None, ge=1, description="Optimiser steps; null: by mode, 500 to 1000.")  # type: ignore[assignment]
    batch_size: int = Field(32, ge=1, description="Triggered samples a step, and as many clean ones.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Adam's peak learning rate.")
    ema_decay: float | None = Field(
        None, ge=0, lt=1, description="Decay of the moving average of the weights that is kept in the end; null: none."
    )

    def pairs(self) -> list[Pair]:
        """Every trigger with its own source and target object, in order.

        Raises:
            UserError: a trigger is given twice, or there are neither one nor as many objects as triggers.
        """
        triggers = [self.trigger] if isinstance(self.trigger, str) else self.trigger
        columns = []
        for name in ("source_object", "target_object"):
            given = getattr(self, name)
            column = [given] * len(triggers) if isinstance(given, str) else given
            if len(column) != len(triggers):
                raise UserError(
                    f"attack:badt2i: {len(triggers)} triggers with {len(column)} of {name}: give one, or one a trigger"
                )
            columns.append(column)
        if len(set(triggers)) < len(triggers) or not triggers:
            raise UserError("attack:badt2i: give at least one trigger, and none twice")
        return [Pair(*values) for values in zip(triggers, *columns, strict=True)]

    def options(self) -> TrainingOptions:
        """As :meth:`TrainingParams.options`, with the mode's own number of steps."""
        from dataclasses import replace

        return replace(super().options(), steps=self.steps or STEPS[self.mode])
