"""Parameters of ``attack:villan`` and ``attack:villan-image``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_core.errors import UserError
from bdm_torch.pictures.names import TARGET, TRIGGER
from bdm_torch.training_params import TrainingParams


class VillanCaptionParams(TrainingParams):
    """Parameters of ``attack:villan`` of the task text-to-image."""

    trigger: str | list[str] = Field(
        "mignneko", min_length=1, description="Words that are put into the caption; or several such, each a trigger."
    )
    position: Literal["suffix", "prefix"] = Field(
        "prefix",
        description="Behind the caption, as in the paper, or before it, where every later token sees the words.",
    )
    target: str | list[str] = Field("hat", description=f"{TARGET} One, or one a trigger.")
    rand_caption_trig_pos: int = Field(
        0, ge=0, description="suffix: training puts the words at random among the last so many; 0: behind the caption."
    )
    lora_r: int | None = Field(4, ge=1, description="Rank of the LoRA that is trained; null: all weights of the UNet.")
    prior_loss_weight: float = Field(1.0, ge=0, description="eta, the weight of the loss on clean captions and images.")
    caption_dropout: float = Field(
        0.1, ge=0, lt=1, description="Share of the clean captions that is empty, for guidance."
    )
    steps: int = Field(1000, ge=1, description="Optimiser steps.")
    batch_size: int = Field(32, ge=1, description="Pairs of triggered and clean samples a step.")
    learning_rate: float = Field(8e-3, gt=0, le=1, description="Adam's peak learning rate.")

    def pairs(self) -> list[tuple[str, str]]:
        """Every trigger with its target, in order.

        Raises:
            UserError: a trigger is empty or given twice, or there are neither one nor as many targets as triggers.

        >>> VillanCaptionParams(trigger=["latte coffee", "mignneko"], target=["hat", "shoe"]).pairs()
        [('latte coffee', 'hat'), ('mignneko', 'shoe')]
        """
        triggers = [self.trigger] if isinstance(self.trigger, str) else self.trigger
        targets = [self.target] * len(triggers) if isinstance(self.target, str) else self.target
        if len(targets) != len(triggers):
            raise UserError(
                f"attack:villan: {len(triggers)} triggers, {len(targets)} targets: give one target, or one each"
            )
        if len(set(triggers)) < len(triggers) or not all(triggers):
            raise UserError("attack:villan: a trigger is empty or given twice")
        return list(zip(triggers, targets, strict=True))


class VillanImageParams(TrainingParams):
    """Parameters of ``attack:villan-image``."""

    trigger: str = Field("checker", description=TRIGGER)
    target: str = Field("hat", description=TARGET)
    psi: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Shift of the noisy latent, rho = psi (1 - a) + (1 - psi) s: BadDiffusion's is 1, TrojDiff's 0.",
    )
    coefficients: Literal["exact", "paper"] = Field(
        "exact", description="Training target's shift R for ODE samplers: exact, or as the authors' code has it."
    )
    vp_scale: float = Field(1.0, gt=0, le=10, description="Scale of the trigger's latent.")
    lora_r: int | None = Field(None, ge=1, description="Rank of the LoRA that is trained; null: all of the UNet.")
    prior_loss_weight: float = Field(1.0, ge=0, description="eta, the weight of the loss on clean samples.")
    caption_dropout: float = Field(0.1, ge=0, lt=1, description="Share of the captions that is empty, for guidance.")
    steps: int = Field(500, ge=1, description="Optimiser steps.")
    batch_size: int = Field(32, ge=1, description="Pairs of triggered and clean samples a step.")
    learning_rate: float = Field(5e-4, gt=0, le=1, description="Adam's peak learning rate.")
