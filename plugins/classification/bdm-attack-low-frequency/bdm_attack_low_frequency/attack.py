"""Low-frequency attack (Zeng et al., ICCV 2021, arXiv 2104.03413): x' = clip(x + d) with one smooth d for all.

d makes a clean classifier err, and its spectrum ends at a cutoff: a detector that looks at high frequencies misses it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bdm_attack_low_frequency.params import LowFrequencyParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.poison.injection import train_surrogate
from bdm_kit_classification.poison.poisoning import poison_training_rows, require_plan
from bdm_kit_classification.triggers.blend import Added
from bdm_kit_classification.triggers.frequency import low_pass
from bdm_torch.draws import Draw

STEP = 0.1
"""Of the bound, in each step."""
ALTERNATIONS = 4
"""Of clipping and low-pass in each projection."""


def poison(ctx: Context, params: LowFrequencyParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the rate or the target is impossible.
    """
    samples = open_samples(data)
    require_plan(ctx, params, samples)  # what cannot be is said before anything is trained
    surrogate = train_surrogate(ctx, samples, params.model_copy(update={"epochs": params.surrogate_epochs}))
    return poison_training_rows(ctx, params, data, Added(smooth_perturbation(ctx, params, surrogate, samples)))


def smooth_perturbation(
    ctx: Context, params: LowFrequencyParams, classifier: Classifier, samples: LabelledSamples
) -> Tensor:
    """Projected gradient ascent on the cross entropy of all rows at once, over perturbations under the cutoff.

    The projection ends with the low frequencies scaled to the bound, so that both hold exactly.

    Args:
        ctx: of the stage: seed and progress.
        params: bound, cutoff, steps and pictures a step.
        classifier: clean, in evaluation mode.
        samples: clean training rows.

    Returns:
        float32 (C, H, W) on the CPU; its largest absolute value is the bound.
    """
    shape: Any = samples.modality.shape(samples.stored)
    waves = max(2, round(params.cutoff * min(shape[1:])))
    generator = torch.Generator().manual_seed(ctx.seed)
    perturbation = smooth(torch.randn(shape, generator=generator), waves, params.bound).to(classifier.device)
    momentum = torch.zeros_like(perturbation)
    for step in range(params.ascent_steps):
        ctx.progress("perturbation", step, params.ascent_steps)
        rows = Draw(ctx.seed, step, min(params.sample, len(samples))).rows(len(samples))
        x, labels = samples.raw(rows).to(perturbation), samples.labels[rows].to(perturbation.device)
        perturbation.requires_grad_(True)
        loss = functional.cross_entropy(classifier((x + perturbation).clamp(0, 1)), labels)
        (slope,) = torch.autograd.grad(loss, perturbation)
        slope = low_pass(slope, waves)
        momentum = 0.9 * momentum + slope / slope.abs().max().clamp_min(1e-12)
        perturbation = perturbation.detach() + STEP * params.bound * momentum / momentum.abs().max().clamp_min(1e-12)
        perturbation = smooth(perturbation, waves, params.bound)
    return perturbation.cpu()


def smooth(perturbation: Tensor, waves: int, bound: float) -> Tensor:
    """The waves below number ``waves`` in both directions, of a largest absolute value that is the bound.

    Clipping and low-pass alternate, which keeps more of the perturbation than scaling it down by its highest peak.
    """
    for _ in range(ALTERNATIONS):
        perturbation = low_pass(perturbation.clamp(-bound, bound), waves)
    return perturbation * (bound / perturbation.abs().max().clamp_min(1e-12))
