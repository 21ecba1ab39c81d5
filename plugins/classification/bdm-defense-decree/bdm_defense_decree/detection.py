"""DECREE (Feng et al. 2023, CVPR, arXiv 2303.15180): a small trigger of a backdoored encoder makes features alike.

With x' = (1 - m) x + m p the search minimises  - mean cos(f(x'_i), f(x'_j)) + w |m|_1  over unlabelled pictures; w
adapts, and of all masks that reach the wanted cosine the smallest is kept. Its area over the picture's (the P L1-norm)
is compared with a fixed threshold: there are no classes that could be compared with each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_decree.params import DecreeParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.inversion.evidence import seal_inverted
from bdm_kit_classification.inversion.search import Inverted, stamped
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_torch.draws import Draw

FLOOR = 1e-7
"""The weight of size does not fall below it."""


@dataclass(frozen=True, eq=False)
class Alike:
    """What the search found, on the CPU.

    Attributes:
        mask: (1, H, W) in [0, 1].
        pattern: (C, H, W) in [0, 1].
        cosine: mean cosine between the features of different pictures that have it.
    """

    mask: Tensor
    pattern: Tensor
    cosine: float

    @property
    def share(self) -> float:
        """Area of the mask over that of the picture, in [0, 1]."""
        return float(self.mask.mean())


def mean_cosine(features: Tensor) -> Tensor:
    """The mean cosine between different rows of (N, F), a scalar.

    >>> mean_cosine(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
    tensor(0.3333)
    """
    unit = functional.normalize(features, dim=1)
    count = len(unit)
    return (unit.sum(0).square().sum() - unit.square().sum()) / (count * (count - 1))


def search(ctx: Context, classifier: Classifier, samples: LabelledSamples, params: DecreeParams) -> Alike:
    """The smallest trigger that makes features alike; if none did, the one that came nearest, with the whole mask.

    Args:
        ctx: seed and progress.
        classifier: whose features are looked at; its head is not.
        samples: clean pictures; labels are not looked at.
        params: of the search.
    """
    classifier.eval().requires_grad_(False)
    shape = samples.modality.shape(samples.stored)
    generator = torch.Generator().manual_seed(ctx.seed % 2**63)
    start = torch.rand(1 + shape[0], *shape[1:], generator=generator).clamp(0.01, 0.99)
    free = torch.logit(start).to(classifier.device).requires_grad_(True)
    optimiser = torch.optim.Adam([free], lr=params.rate, betas=(0.5, 0.9))
    weight, streak = params.size_weight, [0, 0]
    kept, least, reached = torch.ones_like(free.detach()), float("inf"), 0.0
    for step in range(params.steps):
        for group in optimiser.param_groups:
            group["lr"] = params.rate if step < params.steps / 5 else params.later_rate
        rows = Draw(ctx.seed, step, min(params.batch, len(samples))).rows(len(samples))
        inputs = samples.modality.collate(samples.raw(rows), classifier)
        values = free.sigmoid()
        cosine = mean_cosine(classifier.features(stamped(inputs, values[:1], values[1:])))
        size = values[0].sum()
        (weight * size - cosine).backward()
        enough, area = float(cosine.detach()) > params.success, float(size.detach())
        if enough and area < least:
            kept, least, reached = values.detach().clone(), area, float(cosine.detach())
        streak = [streak[0] + 1, 0] if enough else [0, streak[1] + 1]
        if streak[0] > params.patience:
            weight, streak = weight * params.factor, [0, 0]
        elif streak[1] > params.patience:
            weight, streak = max(FLOOR, weight / params.factor), [0, 0]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 20 == 0:
            ctx.progress("trigger inversion", step, params.steps, float(cosine.detach()))
    classifier.requires_grad_(True)
    return Alike(kept[:1].cpu(), kept[1:].cpu(), reached)


def detect(ctx: Context, params: DecreeParams, model: Model, data: Data) -> Detection:
    """Judge an encoder by the share of the picture that its smallest trigger covers: less is more suspicious."""
    classifier, samples = load_classifier(model, ctx.device), open_samples(data)
    found = search(ctx, classifier, samples, params)
    note = f"a mask of {100 * found.share:.1f} % of the picture makes features alike (mean cosine {found.cosine:.3f})"
    if not found.cosine:
        note = "no mask that was tried makes features alike"
    ctx.figures(mask_share=found.share, cosine=found.cosine)
    shown = Inverted(found.mask[None], found.pattern[None], torch.tensor([found.cosine]))
    return Detection(
        level="model",
        scores=[1 - found.share],
        threshold=1 - params.threshold,
        note=note,
        evidence=seal_inverted(ctx.out / "evidence", shown, [0], ["all alike"], model.task),
        network_evaluations=params.steps * min(params.batch, len(samples)),
        clean_samples=len(samples),
    )
