"""Parameters of ``defense:bnp``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import PruningParams


class BnpParams(PruningParams):
    """Parameters of ``defense:bnp``."""

    divergence: Literal["clean-stored", "stored-clean"] = Field(
        "clean-stored",
        description="The divergence of the distribution of clean rows from the stored one, as in the paper, or the "
        "other way round.",
    )
