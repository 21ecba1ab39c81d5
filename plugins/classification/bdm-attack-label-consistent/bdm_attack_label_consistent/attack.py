"""Label-consistent attack (Turner, Tsipras and Madry 2019, arXiv 1912.02771): rows of the target class are made hard
to tell by projected gradient ascent on a clean classifier, so that the patches in their corners are what is learnt."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bdm_attack_label_consistent.corners import corner_patches
from bdm_attack_label_consistent.params import LabelConsistentParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.noise.drawing import settle
from bdm_kit_classification.poison.injection import train_surrogate
from bdm_kit_classification.poison.poisoning import plan_of, rule_of, seal_changed
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.triggers.trigger import apply_in_batches
from bdm_torch.draws import step_seed

BATCH = 128


def poison(ctx: Context, params: LabelConsistentParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the patches do not fit, the rate or the target is impossible.
    """
    samples = open_samples(data)
    shape: Any = data.meta["shape"]
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule)
    samples = settle(samples, plan.rows)
    trigger = corner_patches(params.patch, params.amplitude, shape)
    surrogate = train_surrogate(ctx, samples, params.model_copy(update={"epochs": params.surrogate_epochs}))
    hard = []
    for number, rows in enumerate(torch.tensor(plan.poison, dtype=torch.int64).split(BATCH)):
        ctx.progress("adversarial", len(hard) * BATCH, len(plan.poison))
        seed = step_seed(ctx.seed, number, "adversarial")
        hard.append(made_hard(surrogate, samples.raw(rows), samples.labels[rows], params, seed))
    if not hard:
        return seal_changed(ctx.out / "data", samples, samples, Backdoor(rule, trigger), plan, seed=ctx.seed)
    changed = samples.changed(plan.poison, apply_in_batches(trigger, torch.cat(hard), "train", ctx.seed))
    return seal_changed(ctx.out / "data", samples, changed, Backdoor(rule, trigger), plan, seed=ctx.seed)


def made_hard(classifier: Classifier, x: Tensor, labels: Tensor, params: LabelConsistentParams, seed: int) -> Tensor:
    """Projected gradient ascent on the cross entropy of the true labels, from a random start.

    Args:
        classifier: clean, in evaluation mode.
        x: (N, C, H, W) in [0, 1], on the CPU.
        labels: (N,) true labels.
        params: ``bound`` (L-infinity), ``ascent_step`` and ``ascent_steps``.
        seed: of the start.

    Returns:
        Pictures in [0, 1] within the bound of ``x``, on the CPU.
    """
    start = x.to(classifier.device)
    truth = labels.to(start.device)
    offset = (torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * params.bound
    hard = (start + offset.to(start)).clamp(0, 1)
    for _ in range(params.ascent_steps):
        hard.requires_grad_(True)
        loss = functional.cross_entropy(classifier(hard), truth, reduction="sum")
        (slope,) = torch.autograd.grad(loss, hard)
        hard = (hard.detach() + params.ascent_step * slope.sign()).clamp(start - params.bound, start + params.bound)
        hard = hard.clamp(0, 1)
    return hard.cpu()
