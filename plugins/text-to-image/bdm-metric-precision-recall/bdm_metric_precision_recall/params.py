"""Parameters of ``metric:precision-recall``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class PrecisionRecallParams(Params):
    """Parameters of ``metric:precision-recall``."""

    neighbours: int = Field(3, ge=1, le=1000, description="k: a picture's ball reaches to its k-th nearest neighbour.")
    features: str = Field(
        "auto",
        description="Feature space: attributes (the classifier of the small world), inception (needs the extra "
        "bdm-metric-precision-recall[inception]), pixels, or a folder with a classifier of attributes. auto: "
        "attributes for data of the small world, else inception if installed, else pixels.",
    )
    batch_size: int = Field(256, ge=1, description="Images that pass through the feature network at once.")
