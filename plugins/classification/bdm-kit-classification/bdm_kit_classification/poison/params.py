"""Parameters that every attack on training rows has. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core.plugin import Field
from bdm_kit_classification.training.params import VictimTraining


class PoisonParams(VictimTraining):
    """Rate, target and label rule, and the victim's training; an attack inherits it and sets its own defaults."""

    poison_rate: float = Field(0.05, ge=0, le=1, description="Share of the training set to poison.")
    target_class_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="If given, replaces poison_rate: share of the target class to poison, as clean-label papers count.",
    )
    target: int = Field(0, ge=0, description="Target class.")
    label_rule: Literal["all-to-one", "all-to-all", "source-specific", "clean-label", "untargeted"] = Field(
        "all-to-one",
        description="Label of triggered samples: the target; the next class; the target for sources only; the target "
        "with unchanged training labels; any wrong one.",
    )
    sources: list[int] = Field([], description="Source classes of label_rule source-specific.")
    selection: Literal["auto", "any", "not-target", "target", "sources"] = Field(
        "auto",
        description="Rows that may be poisoned; auto: not of the target class for all-to-one, of the sources, of the "
        "target class for clean-label, else any. Papers often take any.",
    )


class CleanLabelParams(PoisonParams):
    """The same for attacks that leave every label as it is."""

    label_rule: Literal["clean-label"] = Field(  # type: ignore[assignment]
        "clean-label", description="Training labels stay as they are; triggered samples are to get the target."
    )
