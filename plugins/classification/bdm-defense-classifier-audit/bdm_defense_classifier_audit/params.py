"""Parameters of ``defense:classifier-audit``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params

MARGIN_STEPS, MARGIN_STARTS = 60, 4
"""Steps of the search for the largest margin of a class, and how many pictures it starts from."""


class ClassifierAuditParams(Params):
    """Parameters of ``defense:classifier-audit``. One configuration serves every model."""

    pictures: int = Field(
        1,
        ge=1,
        le=1000,
        description="Clean pictures of each class for the searches of patch and added picture.",
        calibrated=True,
    )
    warp_pictures: int = Field(
        2, ge=1, le=1000, description="Clean pictures of each class for the search of a warp.", calibrated=True
    )
    patch_steps: int = Field(100, ge=1, le=100_000, description="Steps of the search for patches.", calibrated=True)
    steps: int = Field(40, ge=1, le=100_000, description="Steps of the search for added pictures.", calibrated=True)
    warp_steps: int = Field(60, ge=1, le=100_000, description="Steps of the search for warps.", calibrated=True)
    calibration: str = Field("", description="JSON file of `bdm calibrate classifier-audit`; empty: the one shipped.")
    false_positive_rate: float = Field(
        0.02, gt=0, lt=0.5, description="Share of clean models that the threshold may flag."
    )

    def evaluations(self, classes: int) -> int:
        """Forward passes of an audit, counted per sample, if there are pictures of every class."""
        few, more = self.pictures * classes, self.warp_pictures * classes
        searches = (self.patch_steps + self.steps) * few + self.warp_steps * more
        return classes * (searches + MARGIN_STEPS * MARGIN_STARTS)
