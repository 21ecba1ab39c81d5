"""How the answer changes with the trigger's strength, and what the model says between clean, triggered and target."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from PIL import Image, ImageDraw

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_kit_classification.analysis.rows import Examined, examine
from bdm_metric_boundary.params import BoundaryParams
from bdm_metric_boundary.plane import MARGIN, classes_on, plane
from bdm_torch.analysis import charts
from bdm_torch.analysis.showing import keep_arrays, keep_pictures

MARK, CELL = 5, 6


def measure(ctx: Context, params: BoundaryParams, subject: Subject) -> list[Measurement]:
    """The strength at which half of the rows flip, the area under the curve, and the target's share of the maps."""
    examined = examine(ctx, subject, params.samples)
    if examined is None:
        return []
    strengths = torch.linspace(0, params.strongest, params.strengths).tolist()
    rates, right = curve(examined, strengths)
    show_curve(ctx, strengths, rates, right)
    count = len(examined.triggered)
    area = under([(strength, rate) for strength, rate in zip(strengths, rates, strict=True) if strength <= 1 + 1e-9])
    found = [
        Measurement(
            metric="strength_half",
            value=crossing(strengths, rates, 0.5),
            on="triggered",
            higher_is_better=True,
            n=count,
            label="Strength of half the success",
            description="The trigger's strength at which half of the eligible rows get the attacker's class, 1 for the "
            f"attack's own; undefined where that never happens up to {params.strongest:g}.",
        ),
        Measurement(
            metric="asr_over_strength",
            value=area,
            on="triggered",
            higher_is_better=False,
            n=count,
            share=True,
            label="ASR over strength",
            description="Mean attack success rate over strengths of the trigger from 0 to 1, in [0, 1].",
        ),
    ]
    share = maps(ctx, params, examined) if params.maps else None
    if share is not None:
        found.append(
            Measurement(
                metric="target_area",
                value=share,
                higher_is_better=False,
                n=min(params.maps, count),
                share=True,
                label="Target's share of the maps",
                description="Share of the planes through a clean row, the same with the trigger and a row of the "
                "target class on which the model says the target, in [0, 1].",
            )
        )
    return found


def curve(examined: Examined, strengths: list[float]) -> tuple[list[float], list[float]]:
    """ASR and accuracy of clip(x + s (x' - x)), x' being the row x with the trigger, for each strength s."""
    clean, triggered = examined.inputs(examined.without), examined.inputs(examined.triggered)
    labels = examined.triggered.labels.tolist()
    rates, right = [], []
    for strength in strengths:
        said = classes_on(examined.classifier, clean + strength * (triggered - clean)).tolist()
        rates.append(sum(map(examined.rule.success, said, labels)) / len(labels))
        right.append(sum(map(int.__eq__, said, labels)) / len(labels))
    return rates, right


def crossing(x: list[float], y: list[float], level: float) -> float | None:
    """Where a curve first reaches a level, between two points on their line; None if it never does.

    >>> crossing([0.0, 1.0, 2.0], [0.0, 0.25, 0.75], 0.5)
    1.5
    """
    for place, value in enumerate(y):
        if value >= level:
            if place == 0:
                return x[0]
            rise = value - y[place - 1]
            return x[place - 1] + (x[place] - x[place - 1]) * (level - y[place - 1]) / rise
    return None


def under(points: list[tuple[float, float]]) -> float | None:
    """Mean height of a curve by the trapezoidal rule; None for fewer than two points.

    >>> under([(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)])
    0.75
    """
    if len(points) < 2:
        return None
    pairs = list(itertools.pairwise(points))
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairs) / (points[-1][0] - points[0][0])


def show_curve(ctx: Context, strengths: list[float], rates: list[float], right: list[float]) -> None:
    """The chart and a table."""
    keep_arrays(ctx, {"strengths": strengths, "ASR by strength": rates, "R-Acc by strength": right})
    head = ["strength", "ASR", "R-Acc"]
    rows: list[list[Any]] = [list(row) for row in zip(strengths, rates, right, strict=True)]
    ctx.figures(tables={"sensitivity to the trigger's strength": {"head": head, "rows": rows}})
    picture = charts.lines(
        [*strengths, strengths[-1] + 1e-9],
        {"ASR": [*rates, float("nan")], "R-Acc": [*right, float("nan")]},
        ("strength of the trigger", "share"),
        [charts.SIGNAL, charts.COLOURS[0]],
    )
    caption = "Eligible rows under a weaker or stronger trigger; 1 is the attack's own strength."
    keep_pictures(ctx, "Sensitivity to the trigger's strength", caption, [("", picture)])


def maps(ctx: Context, params: BoundaryParams, examined: Examined) -> float | None:
    """The maps of the first rows, and the mean share of the wanted class on them.

    None if no row has a partner, and for an untargeted attack, which wants no class.
    """
    if examined.wanted is None:
        ctx.figures(left_out="maps of the decision boundary: the attack is untargeted and has no target class")
        return None
    clean, triggered = examined.inputs(examined.without), examined.inputs(examined.triggered)
    every, wanted, names = examined.inputs(examined.clean), examined.wanted.tolist(), examined.clean.classes
    pictures: list[tuple[str, Image.Image]] = []
    shares: list[float] = []
    arrays: dict[str, torch.Tensor] = {}
    for row in range(len(clean)):
        partners = examined.clean.rows_of_class(wanted[row])
        if len(pictures) == params.maps or not partners:
            continue
        grid, places = plane(clean[row], triggered[row], every[partners[row % len(partners)]], params.points)
        said = classes_on(examined.classifier, grid).reshape(params.points, params.points)
        shares.append(float((said == wanted[row]).double().mean()))
        arrays[f"decision map {len(pictures)}"] = said
        label = int(examined.without.labels[row])
        pictures.append((f"{names[label]}; target {names[wanted[row]]}", drawn(said, places, [label, wanted[row]])))
    if not pictures:
        return None
    keep_arrays(ctx, arrays)
    caption = (
        "Colours are classes: white dot the clean row, red dot with trigger (right of it), black dot a row of the "
    )
    keep_pictures(ctx, "Decision boundary", f"{caption}target class. Red: the target; blue: the true class.", pictures)
    return sum(shares) / len(shares)


def drawn(said: torch.Tensor, places: torch.Tensor, marked: list[int]) -> Image.Image:
    """A map with its three samples; the true class blue, the wanted one red, others faint."""
    points = len(said)
    table = {label: tuple(200 + (tone * 55) // 255 for tone in charts.COLOURS[label % 10]) for label in range(1000)}
    table |= {marked[0]: (150, 185, 225), marked[1]: (240, 150, 140)}
    picture = Image.new("RGB", (points, points))
    picture.putdata([table[int(label) % 1000] for label in said.flip(0).flatten()])
    picture = picture.resize((points * CELL, points * CELL), 0)
    pen, side = ImageDraw.Draw(picture), points * CELL
    low, high = float(places[:, 0].min()) - MARGIN, float(places[:, 0].max()) + MARGIN
    for (x, y), colour in zip(places.tolist(), [charts.PAPER, charts.SIGNAL, charts.INK], strict=True):
        right = side * (x - low) / (high - low)
        down = side * (1 - (y + MARGIN) / (1 + 2 * MARGIN))
        pen.ellipse((right - MARK, down - MARK, right + MARK, down + MARK), fill=colour, outline=charts.INK)
    return picture
