"""Parameters of ``metric:attributes``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class AttributesParams(Params):
    """Parameters of ``metric:attributes``."""

    classifier: str | None = Field(
        None,
        description="Folder of an attribute classifier, as the recipe of bdm-kit-text-to-image writes it; by default "
        "the built-in one, which knows the small world only.",
    )
    threshold: float = Field(
        0.05,
        gt=0,
        le=1,
        description="For a target picture or patch that names no threshold: an image shows it if its mean squared "
        "error, pixels in [0, 1], is below.",
    )
    batch_size: int = Field(512, ge=1, description="Images that pass through the classifier at once.")
