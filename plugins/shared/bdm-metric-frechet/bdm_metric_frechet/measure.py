"""From a subject's samples to one measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core.errors import UserError
from bdm_core.records import Measurement, Subject
from bdm_metric_frechet.distance import FrechetDistance
from bdm_metric_frechet.spaces import ATTRIBUTES, feature_space
from bdm_torch.feature_spaces import comparable_rows
from bdm_torch.image_sets import load_rows, open_images

if TYPE_CHECKING:
    from bdm_core.context import Context
    from bdm_metric_frechet.params import FrechetParams

WORLD_DATA = "small-world"
"""The data of which the feature space ``attributes`` is made."""
LARGEST_FOR_JACKKNIFE = 256
"""With more features than this one distance takes seconds, and the jackknife is left out."""


def measure(ctx: Context, params: FrechetParams, subject: Subject) -> list[Measurement]:
    """The Frechet distance of the samples from clean inputs to the reference images.

    It is undefined if a defense let fewer than two inputs pass.

    Raises:
        UserError: fewer than two images otherwise, images of different shapes, or a feature space that cannot be used.
    """
    reference, samples = open_images(subject.reference), open_images(subject.on_clean)
    reference = reference.pick(comparable_rows(load_rows(subject.reference), load_rows(subject.on_clean)))
    undefined = not len(samples) or (len(samples) < 2 and subject.rejected_clean > 0)
    if len(reference) < 2 or (len(samples) < 2 and not undefined):
        raise UserError(
            f"metric:frechet needs two images or more, got {len(samples)} samples, {len(reference)} references"
        )
    if samples.shape[1:] != reference.shape[1:]:
        raise UserError(
            f"metric:frechet: samples have shape {tuple(samples.shape[1:])}, "
            f"reference images {tuple(reference.shape[1:])}"
        )
    wanted = params.features
    if wanted == "auto" and subject.reference.meta.get("source") == WORLD_DATA:
        wanted = ATTRIBUTES
    space = feature_space(wanted, tuple(samples.shape[1:]), ctx.device)
    if undefined:
        return [_measurement(space.name, None, None, len(samples))]
    distance = FrechetDistance(space.features(reference, params.batch_size, ctx.device))
    features = space.features(samples, params.batch_size, ctx.device)
    if min(len(samples), len(reference)) <= features.shape[1]:
        ctx.log.warning(
            "metric:frechet: %d samples and %d reference images for %d features: the distance is biased upwards; "
            "compare only runs with the same numbers",
            len(samples),
            len(reference),
            features.shape[1],
        )
    cheap = features.shape[1] <= LARGEST_FOR_JACKKNIFE
    error = distance.standard_error(features, params.jackknife_blocks) if cheap else None
    return [_measurement(space.name, distance(features), error, len(samples))]


def _measurement(space: str, value: float | None, stderr: float | None, count: int) -> Measurement:
    return Measurement(
        metric=f"frechet_{space}",
        value=value,
        on="clean",
        higher_is_better=False,
        n=count,
        stderr=stderr,
        label=f"Frechet distance ({space})",
        description="Distance of the samples from clean inputs to the training images as two clouds of features of the "
        f"space {space}, 0 or more.",
        measures="utility",
    )
