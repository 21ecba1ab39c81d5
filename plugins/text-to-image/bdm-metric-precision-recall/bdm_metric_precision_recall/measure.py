"""From a subject's samples to two measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_core.records import Measurement, Subject
from bdm_kit_text_to_image.judging.feature_spaces import ATTRIBUTES, attribute_space
from bdm_metric_precision_recall.manifolds import precision_and_recall
from bdm_torch.feature_spaces import (
    INCEPTION,
    PIXELS,
    FeatureSpace,
    comparable_rows,
    has_inception,
    inception_space,
    names_heads,
    pixel_space,
)
from bdm_torch.image_sets import load_rows, open_images
from bdm_torch.statistics import rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bdm_core.context import Context
    from bdm_metric_precision_recall.params import PrecisionRecallParams

WORLD_DATA = "small-world"
TOLD = {
    "precision": "Share of pictures from clean prompts that lie within the manifold of reference images",
    "recall": "Share of reference images that lie within the manifold of pictures from clean prompts",
}


def measure(ctx: Context, params: PrecisionRecallParams, subject: Subject) -> list[Measurement]:
    """Precision and recall of the samples from clean inputs, with as many reference images drawn at random.

    They are undefined with no more samples than ``neighbours``.

    Raises:
        UserError: images of different shapes, or a feature space that cannot be used.
    """
    reference, samples = open_images(subject.reference), open_images(subject.on_clean)
    reference = reference.pick(comparable_rows(load_rows(subject.reference), load_rows(subject.on_clean)))
    if len(samples) and samples.shape[1:] != reference.shape[1:]:
        raise UserError(
            f"metric:precision-recall: samples have shape {tuple(samples.shape[1:])}, reference images "
            f"{tuple(reference.shape[1:])}"
        )
    wanted = params.features
    if wanted == "auto" and subject.reference.meta.get("source") == WORLD_DATA:
        wanted = ATTRIBUTES
    space = open_space(wanted, reference.shape[1:], ctx.device)
    count = min(len(samples), len(reference))
    if count <= params.neighbours:
        return [_measurement(name, space.name, None, 0, params.neighbours) for name in TOLD]
    order = torch.randperm(len(reference), generator=torch.Generator().manual_seed(ctx.seed))
    real = space.features(reference.pick(order[:count].tolist()), params.batch_size, ctx.device)
    generated = space.features(samples[:count], params.batch_size, ctx.device)
    found = precision_and_recall(real, generated, params.neighbours)
    return [
        _measurement(name, space.name, int(inside.sum()), count, params.neighbours)
        for name, inside in zip(TOLD, found, strict=True)
    ]


def require_space(wanted: str) -> None:
    """Refuse a feature space that cannot be had, before anything is computed. The Inception network is not opened.

    Raises:
        UserError, ArtifactError: as :func:`open_space`.
    """
    if wanted == INCEPTION:
        _require_inception()
    elif wanted != "auto":
        open_space(wanted, (3, 16, 16), "cpu")


def open_space(wanted: str, shape: Sequence[int], device: str) -> FeatureSpace:
    """The feature space with a name, or of a classifier of attributes in a folder.

    Raises:
        UserError: there is none of this name, or an extra is not installed.
    """
    if wanted == "auto":
        wanted = INCEPTION if has_inception() else PIXELS
    if wanted == PIXELS:
        return pixel_space()
    if wanted == ATTRIBUTES:
        return attribute_space(shape, device)
    if wanted == INCEPTION:
        _require_inception()
        from torchmetrics.image.fid import FrechetInceptionDistance

        return inception_space(FrechetInceptionDistance(feature=2048).inception.to(device))
    own = existing(wanted)
    if own is not None and names_heads(own):
        return attribute_space(shape, device, own)
    raise UserError(
        f"metric:precision-recall.features: no feature space {wanted!r}; it is one of auto, {ATTRIBUTES}, {INCEPTION}, "
        f"{PIXELS}, or a folder with a classifier of attributes"
    )


def _require_inception() -> None:
    if not has_inception():
        raise UserError("the Inception features need an extra: pip install 'bdm-metric-precision-recall[inception]'")


def _measurement(name: str, space: str, inside: int | None, count: int, neighbours: int) -> Measurement:
    estimate = rate(inside, count) if inside is not None else None
    return Measurement(
        metric=f"{name}_{space}",
        value=estimate.value if estimate else None,
        on="clean",
        higher_is_better=True,
        n=count,
        stderr=estimate.stderr if estimate else None,
        label=f"{name} ({space})",
        description=f"{TOLD[name]}, by balls to the {neighbours} nearest neighbours in the space {space}, 0 to 1.",
        share=True,
    )
