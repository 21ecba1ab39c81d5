"""The distances sample by sample, as arrays, histograms and pictures."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_torch.analysis import charts
from bdm_torch.analysis.showing import beside, keep_arrays, keep_pictures, stacked, tile

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
SIDE = 72
"""Pixels of a shown picture, about."""


def show_values(ctx: Context, found: Mapping[str, Tensor], labels: Mapping[str, str]) -> None:
    """Keep each distance's values, (N,) in the order of the rows, as an array, and its histogram.

    Args:
        ctx: of the stage.
        found: finite values by the name of their distance.
        labels: what the report calls them.
    """
    keep_arrays(ctx, {f"{name}, one a sample": values for name, values in found.items()})
    pictures = [
        (labels[name], charts.histogram({"": values.double().numpy()}, labels[name], charts.COLOURS[:1]))
        for name, values in found.items()
        if float(values.max()) > float(values.min())
    ]
    if pictures:
        keep_pictures(ctx, "how much the trigger changes each sample", "Shares of the test samples.", pictures)


def show_extremes(ctx: Context, clean: Tensor, changed: Tensor, similarity: Tensor) -> None:
    """Keep pictures (N, C, H, W) in [0, 1] with the trigger in the order of their SSIM (N,), from the lowest up.

    Each column has a picture without the trigger, with it, and their difference around grey, scaled to the largest.
    """
    order = similarity.argsort()
    rows = [int(order[round(share * (len(order) - 1))]) for share in QUANTILES]
    rows = list(dict.fromkeys(rows))
    most = max(1 / 255, float((changed[rows] - clean[rows]).abs().max()))
    columns = []
    for row in rows:
        difference = 0.5 + (changed[row] - clean[row]) / (2 * most)
        columns.append(stacked([tile(sample.numpy(), SIDE) for sample in (clean[row], changed[row], difference)]))
    caption = (
        "From the lowest SSIM to the highest: without the trigger, with it, and the difference around grey, times "
        f"{0.5 / most:.1f}. SSIM: {', '.join(f'{float(similarity[row]):.3f}' for row in rows)}."
    )
    keep_pictures(ctx, "samples by how much the trigger changes them", caption, [("", beside(columns, gap=4))])


def show(ctx: Context, clean: LabelledSamples, changed: LabelledSamples, found: Mapping[str, Tensor]) -> None:
    """All of it; pictures are shown where samples are pictures."""
    finite = {name: values for name, values in found.items() if len(values) and bool(torch.isfinite(values).all())}
    show_values(ctx, finite, {name: clean.modality.measures[name].label for name in finite})
    if "ssim" in finite:
        show_extremes(ctx, clean.raw().float(), changed.raw().float(), finite["ssim"])
