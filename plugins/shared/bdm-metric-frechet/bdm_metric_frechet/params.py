"""Parameters of ``metric:frechet``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class FrechetParams(Params):
    """Parameters of ``metric:frechet``."""

    features: str = Field(
        "auto",
        description="Feature space: digits-classifier (bdm-kit-diffusion's, for 1x8x8 images), attributes "
        "(bdm-kit-text-to-image's classifier of the small world), inception (the usual FID; needs the extra "
        "bdm-metric-frechet[inception]), pixels, or a folder with a classifier that one of the kits' recipes wrote. "
        "auto: the built-in classifier of the data, else inception if installed, else pixels.",
    )
    jackknife_blocks: int = Field(
        20, ge=0, le=1000, description="Blocks of the jackknife for the standard error; 0 leaves it out."
    )
    batch_size: int = Field(256, ge=1, description="Images that pass through the feature network at once.")
