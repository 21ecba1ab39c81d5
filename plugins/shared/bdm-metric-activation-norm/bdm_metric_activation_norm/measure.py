"""Which units a trigger moves: norms of the units without and with it, by layer and step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_metric_activation_norm.norms import Looked, kept_steps, unit_norms
from bdm_metric_activation_norm.params import ActivationNormParams
from bdm_torch.analysis import charts
from bdm_torch.analysis.showing import keep_arrays, keep_pictures

COLUMNS, CELL, STRIP = 120, 4, 12
"""A layer is drawn as a strip of so many columns, so wide and so high each."""
MOST_VALUES = 100_000
"""Beyond so many norms only those of the last step are kept as arrays."""
RISE, FALL = np.array([190, 20, 20]), np.array([20, 60, 170])
TOP = 0.01


@dataclass(frozen=True, eq=False)
class Norms:
    """Of each layer (K, U), from the input to the output, and the K steps counted from 1."""

    clean: dict[str, Tensor]
    triggered: dict[str, Tensor]
    steps: list[int]

    def changes(self) -> dict[str, Tensor]:
        """Layer -> (K, U): what the trigger adds, by the layer's mean norm at that step."""
        return {
            name: (self.triggered[name] - clean) / clean.mean(1, keepdim=True).clamp(min=1e-12)
            for name, clean in self.clean.items()
        }


def measure(ctx: Context, params: ActivationNormParams, subject: Subject) -> list[Measurement]:
    """Mean and largest change of a unit's norm, and how few units the change is in."""
    looked = looked_at(ctx, params, subject)
    if looked is None:
        return []
    clean, triggered = (unit_norms(looked, side, params.batch_size) for side in ("clean", "triggered"))
    norms = Norms(clean, triggered, [step + 1 for step in kept_steps(looked.steps)])
    show(ctx, params, norms)
    sizes = [change.abs() for change in norms.changes().values()]
    every = torch.cat([size.flatten() for size in sizes])
    total, top = float(every.sum()), max(1, round(TOP * len(every)))
    described = "by the mean norm of its layer at that step, from 0"
    return [
        Measurement(
            metric="change",
            value=float(torch.stack([size.mean() for size in sizes]).mean()),
            on="triggered",
            higher_is_better=False,
            n=looked.count,
            label="Mean change of a unit's norm",
            description=f"How far the trigger moves a unit's norm, {described}, mean over units, steps, layers.",
        ),
        Measurement(
            metric="largest_change",
            value=float(every.max()),
            on="triggered",
            higher_is_better=False,
            n=looked.count,
            label="Largest change of a unit's norm",
            description=f"How far the trigger moves the norm of the unit that it moves most, {described}.",
        ),
        Measurement(
            metric="concentration",
            value=float(every.topk(top).values.sum()) / total if total > 0 else None,
            on="triggered",
            n=looked.count,
            label="Change in the top 1 % of units",
            description="Share of the change of all units at all steps that the most changed hundredth of them has, 0 "
            "to 1: large where few units carry the trigger.",
            share=True,
        ),
    ]


def looked_at(ctx: Context, params: ActivationNormParams, subject: Subject) -> Looked | None:
    """What is run, as the task has it."""
    if subject.secret.format == "prompt-secret":
        from bdm_metric_activation_norm import prompts

        return prompts.looked_at(ctx, params, subject)
    from bdm_metric_activation_norm import noise

    return noise.looked_at(ctx, params, subject)


def show(ctx: Context, params: ActivationNormParams, norms: Norms) -> None:
    """The change of every unit as strips, by layer as lines, and a table of the most changed units."""
    changes = norms.changes()
    largest = max(float(change.abs().max()) for change in changes.values()) or 1.0
    drawn = [
        (f"step {step}", strips([change[place].numpy() for change in changes.values()], largest))
        for place, step in enumerate(norms.steps)
    ]
    caption = (
        "A strip for each layer, the first above, a column for each unit: red where the trigger raises its norm, "
        f"blue where it lowers it; the darkest by {largest:.3g} of the layer's mean."
    )
    keep_pictures(ctx, "Change of the units' norms", caption, drawn)
    numbers = list(range(1, len(changes) + 1))
    if len(numbers) > 1:
        curves = {
            f"step {step}": [float(change[place].abs().mean()) for change in changes.values()]
            for place, step in enumerate(norms.steps)
        }
        chart = charts.lines(numbers, curves, ("layer, from the input", "mean change"))
        keep_pictures(ctx, "Change by layer", "Mean change of a unit's norm in each layer.", [("", chart)])
    keep(ctx, params, norms, changes)


def keep(ctx: Context, params: ActivationNormParams, norms: Norms, changes: dict[str, Tensor]) -> None:
    """A table of the most changed units, and the norms as arrays."""
    rows = []
    for number, (name, change) in enumerate(changes.items(), 1):
        for place in change.abs().flatten().topk(min(params.shown, change.numel())).indices.tolist():
            step, unit = divmod(place, change.shape[1])
            sides = [float(side[name][step, unit]) for side in (norms.clean, norms.triggered)]
            rows.append([number, name, unit, norms.steps[step], *sides, float(change[step, unit])])
    rows.sort(key=lambda row: -abs(row[-1]))
    head = ["layer", "name", "unit", "step", "clean", "triggered", "change"]
    ctx.figures(tables={"units that the trigger changes most": {"head": head, "rows": rows[: params.shown]}})
    few = 2 * sum(change.numel() for change in changes.values()) <= MOST_VALUES
    for name in changes:
        both = torch.stack([norms.clean[name], norms.triggered[name]])
        keep_arrays(ctx, {f"norms of {name}": both if few else both[:, -1:]})
    keep_arrays(ctx, {"steps": norms.steps if few else norms.steps[-1:]})


def strips(layers: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]], largest: float) -> Image.Image:
    """A strip for each layer; of units that share a column the most changed one shows.

    >>> strips([np.array([1.0, -1.0]), np.zeros(3)], 1.0).size
    (480, 25)
    """
    made = np.full((len(layers) * (STRIP + 1) - 1, COLUMNS * CELL, 3), 255.0)
    for number, values in enumerate(layers):
        columns = np.array([part[np.abs(part).argmax()] for part in np.array_split(values, min(COLUMNS, len(values)))])
        wide = columns[np.arange(COLUMNS * CELL) * len(columns) // (COLUMNS * CELL)]
        share = (np.abs(wide) / largest)[:, None]
        colour = np.where((wide > 0)[:, None], RISE, FALL)
        made[number * (STRIP + 1) : number * (STRIP + 1) + STRIP] = 245 + (colour - 245) * share
    return Image.fromarray(made.round().astype(np.uint8))
