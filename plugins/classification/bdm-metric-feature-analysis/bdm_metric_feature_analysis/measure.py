"""Penultimate features of clean and of triggered rows: laid out in two dimensions, and their spectra."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_kit_classification.analysis.rows import Examined, examine
from bdm_kit_classification.training.fitting import predict
from bdm_metric_feature_analysis.params import FeatureAnalysisParams
from bdm_metric_feature_analysis.projection import project
from bdm_metric_feature_analysis.spectrum import log_spectrum
from bdm_torch.analysis import charts
from bdm_torch.analysis.showing import keep_arrays, keep_pictures

TRIGGERED = "triggered"
MOST_CLASSES = 10
"""So many classes are drawn, the target first."""
CAPTIONS = {"tsne": "t-SNE", "umap": "UMAP", "pca": "Principal components"}


def measure(ctx: Context, params: FeatureAnalysisParams, subject: Subject) -> list[Measurement]:
    """The silhouette of triggered rows against the target class, and how many of them lie nearest to it."""
    examined = examine(ctx, subject, params.samples)
    if examined is None or len(examined.clean) < 4:
        return []
    clean = predict(examined.classifier, examined.clean).features
    triggered = predict(examined.classifier, examined.triggered).features
    lay_out(ctx, params, examined, clean, triggered)
    target = examined.rule.target
    show_spectra(ctx, examined, clean, triggered, target)
    if target is None:
        return []
    own = clean[examined.clean.labels == target]
    return [
        Measurement(
            metric="silhouette",
            value=silhouette(own, triggered),
            on="triggered",
            n=len(triggered) + len(own),
            label="Silhouette of triggered rows",
            description="Mean silhouette of triggered rows against clean rows of the target class in feature space, in "
            "[-1, 1]: near 1 where they form a cluster of their own, near 0 where they lie among them.",
        ),
        Measurement(
            metric="nearest_target",
            value=float((nearest(clean, examined.clean.labels, triggered) == target).double().mean()),
            on="triggered",
            higher_is_better=False,
            n=len(triggered),
            share=True,
            label="Nearest to the target class",
            description="Share of triggered rows nearest to the mean of the target class in feature space, in [0, 1].",
        ),
    ]


def silhouette(own: Tensor, other: Tensor) -> float | None:
    """Of the rows of ``other`` against those of ``own``, Euclidean (Rousseeuw 1987); None with fewer than two of each.

    >>> silhouette(torch.zeros(2, 1), torch.full((2, 1), 5.0))
    1.0
    """
    if min(len(own), len(other)) < 2:
        return None
    within = torch.cdist(other.double(), other.double()).sum(1) / (len(other) - 1)
    across = torch.cdist(other.double(), own.double()).mean(1)
    return float(((across - within) / torch.maximum(across, within).clamp_min(1e-300)).mean())


def nearest(features: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
    """(N,) the class whose mean of ``features`` each of the rows is nearest to; of classes that have any.

    >>> nearest(torch.tensor([[0.0], [4.0]]), torch.tensor([3, 5]), torch.tensor([[1.0], [9.0]])).tolist()
    [3, 5]
    """
    known = labels.unique()
    means = torch.stack([features[labels == label].mean(0) for label in known])
    return known[torch.cdist(rows, means).argmin(1)]


def lay_out(ctx: Context, params: FeatureAnalysisParams, examined: Examined, clean: Tensor, triggered: Tensor) -> None:
    """The scatter of both, and its coordinates."""
    places = project(torch.cat([clean, triggered]).double().numpy(), params.projection, params.perplexity, ctx.seed)
    labels = examined.clean.labels.numpy()
    keep_arrays(
        ctx,
        {
            "places of clean rows": places[: len(clean)],
            "labels of clean rows": labels,
            "places of triggered rows": places[len(clean) :],
        },
    )
    names = examined.clean.classes
    groups = {names[label]: places[: len(clean)][labels == label] for label in drawn(examined)}
    colours = [charts.COLOURS[number % len(charts.COLOURS)] for number in range(len(groups))]
    every = {**groups, TRIGGERED: places[len(clean) :]}
    picture = charts.scatter(every, ("", ""), [*colours, charts.INK], rings=[TRIGGERED])
    caption = "Penultimate features of test rows, clean ones by class, triggered ones as black rings."
    keep_pictures(ctx, CAPTIONS[params.projection], caption, [("", picture)])


def show_spectra(ctx: Context, examined: Examined, clean: Tensor, triggered: Tensor, target: int | None) -> None:
    """The logarithm of the spectrum of each class's features, and of the target's with triggered rows among them."""
    names, labels = examined.clean.classes, examined.clean.labels
    rows = {names[label]: clean[labels == label] for label in drawn(examined)}
    if target is not None:
        few = triggered[: max(1, len(triggered) // 10)]
        rows[f"{names[target]} with triggered"] = torch.cat([clean[labels == target], few])
    spectra = {name: log_spectrum(own) for name, own in rows.items() if len(own) >= 2}
    keep_arrays(ctx, {f"log-spectrum of {name}": values for name, values in spectra.items()})
    if not spectra:
        return
    longest = max(len(values) for values in spectra.values())
    curves = {name: [*values.tolist(), *[float("nan")] * (longest - len(values))] for name, values in spectra.items()}
    colours = [charts.COLOURS[number % len(charts.COLOURS)] for number in range(len(spectra))]
    if target is not None:
        colours[-1] = charts.SIGNAL
    picture = charts.lines(list(range(1, longest + 1)), curves, ("number", "log10 of eigenvalue"), colours)
    caption = "Covariance of each class's features; red: the target class with a tenth of the triggered rows."
    keep_pictures(ctx, "Log-spectrum of class features", caption, [("", picture)])


def drawn(examined: Examined) -> list[int]:
    """The classes that are drawn: those that have rows, the target among them."""
    target = examined.rule.target
    found = sorted({int(label) for label in examined.clean.labels if label >= 0}, key=lambda label: label != target)
    return sorted(found[:MOST_CLASSES])
