"""WaNet (Nguyen and Tran 2021, arXiv 2102.10369): x'(p) = x(p + s M(p)) with one smooth field M."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from bdm_attack_wanet.params import WaNetParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.injection import seal_attack, victim_of
from bdm_kit_classification.poison.poisoning import plan_of, rule_of
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.triggers.batch_labels import draw_roles, poison_labels
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import Phase, Trigger
from bdm_torch.draws import Draw


@dataclass(frozen=True, eq=False)
class Warp(Trigger):
    """Each pixel is read where a field points to, bilinearly and within the picture.

    Attributes:
        field: (H, W, 2), where to read from in pixels: right and down of the pixel's own place.
        noise: each sample's field gains uniform noise of up to so many pixels a pixel: the negatives.

    >>> moved = Warp(torch.tensor([1.0, 0.0]).expand(2, 3, 2), noise=0.0)
    >>> moved.apply(torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]]), "test")
    tensor([[[[2., 3., 3.],
              [5., 6., 6.]]]])
    """

    field: Tensor
    noise: float

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        height, width = x.shape[2:]
        field = self.field.to(x).expand(len(x), height, width, 2)
        if self.noise:
            field = field + self.noise * (2 * torch.rand(field.shape, generator=generator).to(x) - 1)
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        ends = torch.tensor([max(1, width - 1), max(1, height - 1)]).to(x)
        read = 2 * (torch.stack([columns, rows], -1).to(x) + field) / ends - 1
        return functional.grid_sample(x, read.clamp(-1, 1), mode="bilinear", align_corners=True).clamp(0, 1)


def smooth_field(grid: int, strength: float, height: int, width: int, seed: int) -> Tensor:
    """M of equation 3 in pixels, (H, W, 2): random knots, of mean size ``strength / 2``, and bicubic between them."""
    knots = torch.rand(1, 2, grid, grid, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    knots = knots / knots.abs().mean() * (strength / 2)
    smooth = functional.interpolate(knots, (height, width), mode="bicubic", align_corners=True)
    return smooth[0].permute(1, 2, 0).contiguous()


def warp_some(params: WaNetParams, rule: LabelRule, trigger: Warp, negative: Warp, batch: Batch, draw: Draw) -> Batch:
    """The batch with this step's poisoned rows and negatives."""
    negatives = params.poison_rate * params.negative_share
    poison, noisy = draw_roles(params, rule, batch.labels, draw, negatives)
    inputs, labels = batch.inputs.clone(), batch.labels.clone()
    inputs[poison] = trigger.apply(inputs[poison], "train", draw.generator)
    inputs[noisy] = negative.apply(inputs[noisy], "train", draw.generator)
    labels[poison] = poison_labels(rule, labels[poison], draw.generator)
    return replace(batch, inputs=inputs, labels=labels)


def inject(ctx: Context, params: WaNetParams, model: Model, data: Data) -> Backdoored:
    """The trained victim, the secret, and a view of what an epoch was like.

    Raises:
        UserError: no such class, or an impossible rate.
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    rates = {"negative": params.poison_rate * params.negative_share}
    plan = plan_of(ctx, params, samples, rule, rates)
    height, width = samples.stored.shape[2:]
    field = smooth_field(params.grid, params.strength, height, width, ctx.seed)
    trigger, negative = Warp(field, 0.0), Warp(field, 0.5)
    victim = victim_of(ctx, params, model)

    def change(batch: Batch, draw: Draw) -> Batch:
        return warp_some(params, rule, trigger, negative, batch, draw)

    fit(ctx, victim, samples, params, Changes(batch=change))
    return seal_attack(ctx, victim, Backdoor(rule, trigger, negative), samples, plan)
