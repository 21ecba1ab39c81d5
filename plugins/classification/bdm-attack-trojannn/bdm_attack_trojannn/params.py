"""Parameters of ``attack:trojannn``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {
    "poison_rate": 0.1,
    "selection": "any",
    "neurons": 2,
    "wanted": 100.0,
    "patch_steps": 1000,
}


class TrojanNNParams(PoisonParams):
    """Parameters of ``attack:trojannn``."""

    neurons: int = Field(2, ge=1, le=10_000, description="Units that the patch is to excite: those best connected.")
    layer: int = Field(-1, le=-1, description="Prunable layer of the units, counted from the last (-1).")
    wanted: float = Field(100.0, gt=0, description="Value that the units' activations are driven to.")
    patch_steps: int = Field(200, ge=1, le=1_000_000, description="Steps of the patch's optimisation.")
    patch_rate: float = Field(0.1, gt=0, description="Step size of the patch's pixels (Adam).")
    shape: Literal["disc", "square"] = Field("disc", description="Form of the patch.")
    size: float = Field(0.25, gt=0, le=1024, description="Its side: below 1 a share of the picture's, else pixels.")
    place: Literal["bottom-right", "bottom-left", "top-right", "top-left", "centre"] = Field(
        "bottom-right", description="Where the patch lies."
    )
    margin: int = Field(1, ge=0, le=1024, description="Pixels between the patch and the edges.")
