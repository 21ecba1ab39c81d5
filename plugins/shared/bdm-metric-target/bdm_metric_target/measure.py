"""From a subject's samples to measurements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bdm_core.artifacts import Outputs, Secret
from bdm_core.errors import UserError
from bdm_core.rates import rate
from bdm_core.records import Measurement, Subject
from bdm_metric_target.similarity import eight_bit, mean_squared_errors, structural_similarities, unit_range
from bdm_torch.image_sets import load_images
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
        mean_of("mse", errors, better=True, label="MSE to target"),
        mean_of("ssim", structural_similarities(triggered, target), better=False, label="SSIM to target"),
    ]
    found += [
        share_of(f"asr@{threshold:g}", errors < threshold, "triggered", f"ASR (MSE<{threshold:g})")
        for threshold in params.thresholds
    ]
    first = params.thresholds[0]
    found.append(share_of(f"leak@{first:g}", clean_errors < first, "clean", f"leak (MSE<{first:g})"))
    if params.lpips:
        from bdm_metric_target.perceptual import perceptual_distances

        distances = perceptual_distances(triggered, target, ctx.device)
        found.append(mean_of("lpips", distances, better=True, label="LPIPS to target"))
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


def mean_of(metric: str, values: Tensor, *, better: bool, label: str) -> Measurement:
    """A mean over triggered samples with its standard error."""
    count = len(values)
    return Measurement(
        metric=metric,
        value=values.mean().item(),
        on="triggered",
        higher_is_better=better,
        n=count,
        stderr=values.std().item() / math.sqrt(count) if count > 1 else None,
        label=label,
    )


def share_of(metric: str, hits: Tensor, on: str, label: str) -> Measurement:
    """A share with the standard deviation of Jeffreys' posterior, which is sound for none and for all hits too."""
    share = rate(int(hits.sum()), len(hits))
    return Measurement.model_validate(
        {
            "metric": metric,
            "value": share.value,
            "on": on,
            "higher_is_better": False,
            "n": share.count,
            "stderr": share.stderr,
            "label": label,
        }
    )


def histogram(values: Tensor, bins: int) -> dict[str, list[float]]:
    """Values (N,) counted in equal bins of [0, 1]."""
    counts = torch.histc(values.clamp(0, 1).float(), bins=bins, min=0.0, max=1.0)
    return {"edges": [index / bins for index in range(bins + 1)], "counts": counts.tolist()}
