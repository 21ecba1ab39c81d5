"""From a subject's samples to measurements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from bdm_core.artifacts import Outputs, Secret
from bdm_core.errors import UserError
from bdm_core.records import Measurement, Subject
from bdm_metric_target.similarity import eight_bit, mean_squared_errors, structural_similarities, unit_range
from bdm_torch.image_sets import load_images
from bdm_torch.statistics import rate
from bdm_torch.tensors import read_tensors

if TYPE_CHECKING:
    from bdm_core.context import Context
    from bdm_metric_target.params import TargetParams

TENSORS = "tensors.safetensors"


def measure(ctx: Context, params: TargetParams, subject: Subject) -> list[Measurement]:
    """MSE, SSIM and success rates of the triggered samples, leak of the clean ones; errors go into a histogram.

    Raises:
        UserError: the secret has no target, or one of another shape than the samples.
    """
    target = read_target(subject.secret)
    triggered, clean = _images(subject.on_triggered, target), _images(subject.on_clean, target)
    errors, clean_errors = mean_squared_errors(triggered, target), mean_squared_errors(clean, target)
    found = [
        mean_of("mse", errors),
        mean_of("ssim", structural_similarities(triggered, target) if len(triggered) else errors),
        *success_rates(params, errors, subject.rejected_triggered),
        leak(params, clean_errors),
    ]
    if params.lpips:
        from bdm_metric_target.perceptual import perceptual_distances

        found.append(mean_of("lpips", perceptual_distances(triggered, target, ctx.device)))
    ctx.figures(
        histograms={
            "MSE to target, triggered": histogram(errors, params.histogram_bins),
            "MSE to target, clean": histogram(clean_errors, params.histogram_bins),
        }
    )
    return found


def read_target(secret: Secret) -> Tensor:
    """The target picture (C, H, W) in [0, 1], rounded to 8 bits as the samples are."""
    tensors = read_tensors(secret.file(TENSORS))
    if "target" not in tensors:
        raise UserError(f"{secret.path} has no tensor 'target': metric:target needs an attack with a target picture")
    return eight_bit(unit_range(tensors["target"]))


def _images(outputs: Outputs, target: Tensor) -> Tensor:
    images = load_images(outputs)
    if images.shape[1:] != target.shape:
        raise UserError(
            f"samples in {outputs.path} have shape {tuple(images.shape[1:])}, the attack's target {tuple(target.shape)}"
        )
    return unit_range(images)


MEANS = {
    "mse": (True, "MSE to target", "Mean squared error of the triggered samples to the target, pixels in 0 to 1."),
    "ssim": (False, "SSIM to target", "Structural similarity of the triggered samples to the target, -1 to 1 (same)."),
    "lpips": (True, "LPIPS to target", "Perceptual distance (AlexNet) of the triggered samples to the target, from 0."),
}
"""Metric -> whether high is better for the defender, label, description."""


def mean_of(metric: str, values: Tensor) -> Measurement:
    """A mean over triggered samples, one of :data:`MEANS`, with its standard error; None without samples.

    Args:
        metric: its name.
        values: (N,), one of each sample.
    """
    better, label, description = MEANS[metric]
    count = len(values)
    return Measurement(
        metric=metric,
        value=values.mean().item() if count else None,
        on="triggered",
        higher_is_better=better,
        n=count,
        stderr=values.std().item() / math.sqrt(count) if count > 1 else None,
        label=label,
        description=description,
    )


def success_rates(params: TargetParams, errors: Tensor, rejected: int) -> list[Measurement]:
    """The attack success rate for each threshold; the first one is the one that counts.

    Args:
        params: with the thresholds.
        errors: (N,), squared errors of the triggered samples.
        rejected: inputs that a defense turned away, on which the attack has failed.
    """
    rates = []
    for place, threshold in enumerate(params.thresholds):
        label = f"ASR (MSE<{threshold:g})"
        means = f"Share of triggered inputs whose sample has a squared error to the target below {threshold:g}, 0 to 1."
        rates.append(share_of(f"asr@{threshold:g}", errors < threshold, label, means, rejected=rejected))
        if place == 0:
            rates[0] = rates[0].model_copy(update={"measures": "attack-success"})
    return rates


def leak(params: TargetParams, errors: Tensor) -> Measurement:
    """The share of clean samples that show the target, by the first threshold, from their squared errors (N,)."""
    first = params.thresholds[0]
    means = f"Share of samples without the trigger whose squared error to the target is below {first:g}, 0 to 1."
    return share_of(f"leak@{first:g}", errors < first, f"leak (MSE<{first:g})", means, on="clean")


def share_of(
    metric: str,
    hits: Tensor,
    label: str,
    description: str,
    *,
    on: Literal["clean", "triggered"] = "triggered",
    rejected: int = 0,
) -> Measurement:
    """A share with the standard deviation of Jeffreys' posterior, which is sound for none and for all hits too.

    Args:
        metric: its name.
        hits: (N,) bool.
        label: for tables.
        description: for the report.
        on: which samples these are.
        rejected: further inputs that are no hits.
    """
    count = len(hits) + rejected
    share = rate(int(hits.sum()), count) if count else None
    return Measurement(
        metric=metric,
        value=share.value if share else None,
        on=on,
        higher_is_better=False,
        n=count,
        stderr=share.stderr if share else None,
        label=label,
        description=description,
        share=True,
    )


def histogram(values: Tensor, bins: int) -> dict[str, list[float]]:
    """Values (N,) counted in equal bins of [0, 1]."""
    counts = torch.histc(values.clamp(0, 1).float(), bins=bins, min=0.0, max=1.0)
    return {"edges": [index / bins for index in range(bins + 1)], "counts": counts.tolist()}
