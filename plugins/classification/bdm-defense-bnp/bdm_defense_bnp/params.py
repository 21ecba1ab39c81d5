"""Parameters of ``defense:bnp``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import PruningParams


class BnpParams(PruningParams):
    """Parameters of ``defense:bnp``."""

    divergence: Literal["stored-clean", "clean-stored"] = Field(
        "stored-clean",
        description="The divergence of the stored distribution from that of clean rows, or the other way round, as in "
        "the authors' code.",
    )
