"""Change of activation under the trigger, Lipschitz bounds, distributions and feature maps, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_kit_classification.analysis.rows import Examined, examine
from bdm_kit_classification.models.feature_maps import outputs_of
from bdm_metric_neuron_analysis.params import NeuronAnalysisParams
from bdm_metric_neuron_analysis.units import LayerUnits, look, source
from bdm_metric_neuron_analysis.visualisation import favourite
from bdm_torch.analysis import charts
from bdm_torch.analysis.showing import beside, keep_arrays, keep_pictures, picture_of

PAIR = [charts.COLOURS[0], charts.SIGNAL]
MAP_SIDE = 48
"""Feature maps are drawn about so wide."""


def measure(ctx: Context, params: NeuronAnalysisParams, subject: Subject) -> list[Measurement]:
    """Three numbers of the last layer; tables, arrays and pictures of all layers."""
    examined = examine(ctx, subject, params.samples)
    layers = look(examined) if examined is not None else []
    if examined is None or not layers:
        return []
    report(ctx, params, layers)
    show_maps(ctx, params, examined, layers)
    if params.steps:
        show_favourites(ctx, params, examined, layers)
    last, count = layers[-1], len(examined.triggered)
    shift = last.triggered.mean(0) - last.clean.mean(0)
    return [
        Measurement(
            metric="tac_ratio",
            value=ratio(last.tac),
            higher_is_better=False,
            n=count,
            label="TAC, largest over median",
            description="Trigger-activated change of the last layer's most changed unit over that of its median unit, "
            "from 1: large where few units carry the trigger.",
        ),
        Measurement(
            metric="activation_shift",
            value=float((shift / (last.clean.std(0) + last.clean.std() + 1e-12)).max()),
            higher_is_better=False,
            n=count,
            label="Largest rise of activation",
            description="By how many standard deviations (of the unit plus of the layer) the mean activation of a unit "
            "of the last layer rises under the trigger, the largest of all units.",
        ),
        Measurement(
            metric="lipschitz_outlier",
            value=outlier([layer.lipschitz for layer in layers]),
            higher_is_better=False,
            n=sum(len(layer.lipschitz) for layer in layers),
            label="Lipschitz outlier",
            description="By how many standard deviations the steepest channel's Lipschitz bound is above the mean of "
            "its layer, the largest of all layers.",
        ),
    ]


def ratio(values: torch.Tensor) -> float | None:
    """Largest over median; None if the median is zero.

    >>> ratio(torch.tensor([1.0, 2.0, 8.0]))
    4.0
    """
    middle = float(values.median())
    return float(values.max()) / middle if middle > 0 else None


def outlier(layers: list[torch.Tensor]) -> float:
    """The largest distance above the mean in standard deviations, of all layers.

    >>> outlier([torch.tensor([1.0, 1.0, 1.0, 5.0])]) == 3**0.5
    True
    """
    found = [float((values.max() - values.mean()) / (values.std(correction=0) + 1e-12)) for values in layers]
    return max(found)


def report(ctx: Context, params: NeuronAnalysisParams, layers: list[LayerUnits]) -> None:
    """A table of the most changed units, arrays of all, and charts of the last layer."""
    rows: list[list[Any]] = []
    for layer in layers:
        clean, triggered = layer.clean.mean(0).tolist(), layer.triggered.mean(0).tolist()
        for unit in layer.order[: max(1, params.shown // len(layers))]:
            numbers = [float(values[unit]) for values in (layer.tac, layer.lipschitz)]
            rows.append([layer.name, unit, *numbers, clean[unit], triggered[unit]])
    head = ["layer", "unit", "TAC", "Lipschitz bound", "activation", "activation triggered"]
    ctx.figures(tables={"units that the trigger changes most": {"head": head, "rows": rows}})
    for layer in layers:
        keep_arrays(
            ctx,
            {
                f"TAC of {layer.name}": layer.tac,
                f"Lipschitz bound of {layer.name}": layer.lipschitz,
                f"activation of {layer.name}": torch.stack([layer.clean.mean(0), layer.triggered.mean(0)]),
            },
        )
    drawn = [(layer.name, charts.bars(layer.tac[layer.order].tolist(), ("unit", "TAC"))) for layer in layers[-4:]]
    keep_pictures(ctx, "TAC", "Change of each unit under the trigger, the most changed first.", drawn)
    points = {layer.name: np.stack([layer.lipschitz.numpy(), layer.tac.numpy()], axis=1) for layer in layers[-6:]}
    keep_pictures(
        ctx,
        "TAC and Lipschitz bound",
        "Units that the trigger excites are often steep: they lie to the right and above.",
        [("", charts.scatter(points, ("Lipschitz bound", "TAC")))],
    )
    last = layers[-1]
    by_clean = last.clean.mean(0).argsort(descending=True)
    curves = {"clean": last.clean.mean(0)[by_clean].tolist(), "triggered": last.triggered.mean(0)[by_clean].tolist()}
    keep_pictures(
        ctx,
        "Activation",
        f"Mean activation of the units of {last.name}, ordered by that of clean rows.",
        [("", charts.lines(list(range(len(by_clean))), curves, ("unit", "activation"), PAIR))],
    )
    histograms = [
        (
            f"unit {unit}",
            charts.histogram(
                {"clean": last.clean[:, unit].numpy(), "triggered": last.triggered[:, unit].numpy()}, "activation", PAIR
            ),
        )
        for unit in last.order[:2]
    ]
    keep_pictures(
        ctx, "Distribution of activation", f"The units of {last.name} that the trigger changes most.", histograms
    )


def show_maps(ctx: Context, params: NeuronAnalysisParams, examined: Examined, layers: list[LayerUnits]) -> None:
    """Maps of the most changed unit of each layer that has any, without and with the trigger, on one scale."""
    chosen = list(range(min(params.pictures, len(examined.triggered))))
    found = examined.classifier.prunable_layers()
    rows = []
    for samples in (examined.without, examined.triggered):
        with outputs_of([source(layer) for layer in found]) as outputs, torch.no_grad():
            examined.classifier(examined.inputs(samples.pick(chosen))) if chosen else None
            rows.append([output.float().cpu() for output in outputs])
    pictures = []
    for layer, one, other in zip(layers, *rows, strict=True):
        if not chosen or one.ndim != 4 or min(one.shape[2:]) < 2:
            continue
        unit = layer.order[0]
        pair = [maps[:, unit].clamp_min(0) for maps in (one, other)]
        most = max(float(maps.max()) for maps in pair) or 1.0
        cell = max(1, MAP_SIDE // one.shape[3])
        tiles = [picture_of((maps / most).numpy()[None, row]) for row in chosen for maps in pair]
        tiles = [tile.resize((tile.width * cell, tile.height * cell), 0) for tile in tiles]
        pictures.append((f"{layer.name}, unit {unit}", beside(tiles, gap=2)))
    if pictures:
        caption = "Of the unit that the trigger changes most: each sample without and with the trigger."
        keep_pictures(ctx, "Feature maps", caption, pictures[-8:])


def show_favourites(ctx: Context, params: NeuronAnalysisParams, examined: Examined, layers: list[LayerUnits]) -> None:
    """The picture that the most changed unit of each of the last layers answers to most."""
    shape = tuple(examined.clean.modality.shape(examined.clean.stored))
    found = list(zip(examined.classifier.prunable_layers(), layers, strict=True))[-4:]
    made = []
    for layer, units in found:
        picture = favourite(examined.classifier, layer, units.order[0], shape, params.steps).numpy()
        made.append((f"{units.name}, unit {units.order[0]}", picture_of(picture)))
    keep_pictures(ctx, "Feature visualisation", "Pictures that the most changed units answer to most.", made)
