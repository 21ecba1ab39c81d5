"""Parameters of ``defense:classifier-audit``. Light: no torch."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from bdm_core import Field, Params
from bdm_defense_classifier_audit.measures import Mode

MARGIN_STEPS, MARGIN_STARTS = 60, 4
"""Steps of the search for the largest margin of a class, and how many pictures it starts from."""
FEATURE_STEPS = 60
"""Steps of the search for shifts of features; each passes the last layer alone."""
STRANGE_PICTURES = 96
"""Kinds of strange pictures times opacities times pictures of each: 3 x 2 x 16."""


class ClassifierAuditParams(Params):
    """Parameters of ``defense:classifier-audit``. One configuration serves every model."""

    reference: str = Field(
        "",
        description="A public model of the same pictures and classes to compare with: a built-in name, a folder or "
        "hf:org/name@commit; empty: a small network is trained on the clean pictures instead.",
    )
    weights_only: bool = Field(
        False, description="Judge by the weights alone; no clean picture is looked at. It finds far fewer backdoors."
    )
    pictures: int = Field(
        1,
        ge=1,
        le=1000,
        description="Clean pictures of each class for the searches of patch, added picture and spectrum.",
        calibrated=True,
    )
    warp_pictures: int = Field(
        2, ge=1, le=1000, description="Clean pictures of each class for the search of a warp.", calibrated=True
    )
    patch_steps: int = Field(100, ge=1, le=100_000, description="Steps of the search for patches.", calibrated=True)
    steps: int = Field(40, ge=1, le=100_000, description="Steps of the search for added pictures.", calibrated=True)
    warp_steps: int = Field(60, ge=1, le=100_000, description="Steps of the search for warps.", calibrated=True)
    spectrum_steps: int = Field(60, ge=1, le=100_000, description="Steps of the search for spectra.", calibrated=True)
    baseline_epochs: int = Field(
        30, ge=1, le=100_000, description="Times the baseline uses each clean picture.", calibrated=True
    )
    calibration: str = Field("", description="JSON file of `bdm calibrate classifier-audit`; empty: the one shipped.")
    false_positive_rate: float = Field(
        0.04, gt=0, lt=0.5, description="Share of clean models that the threshold may flag."
    )
    doubt_rate: float = Field(
        0.15,
        gt=0,
        lt=0.5,
        description="Share of clean models that all measures together may say of that it cannot tell.",
    )

    @model_validator(mode="after")
    def _one_mode(self) -> Self:
        if self.weights_only and self.reference:
            raise ValueError("weights_only compares with nothing: leave reference out")
        return self

    @property
    def mode(self) -> Mode:
        """What the classes are compared with."""
        if self.weights_only:
            return "weights"
        return "reference" if self.reference else "pictures"

    @property
    def idle(self) -> tuple[str, ...]:
        """The settings of a calibration that the mode makes no use of.

        >>> ClassifierAuditParams(reference="public").idle
        ('baseline_epochs',)
        """
        if self.mode == "weights":
            return self.calibrated_fields()
        return () if self.mode == "pictures" else ("baseline_epochs",)

    def evaluations(self, classes: int) -> int:
        """Forward passes of one measurement, counted per sample, if there are pictures of every class."""
        margins = classes * MARGIN_STEPS * MARGIN_STARTS
        if self.weights_only:
            return margins
        few, more = self.pictures * classes, self.warp_pictures * classes
        searches = (self.patch_steps + self.steps + self.spectrum_steps) * few + self.warp_steps * more
        return classes * searches + margins + STRANGE_PICTURES * few + more
