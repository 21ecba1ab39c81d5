"""Curvature and surroundings of the loss of clean rows and of the poison loss: triggered rows, wanted class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_kit_classification.analysis.rows import Examined, examine
from bdm_kit_classification.models.classifier import load_classifier
from bdm_metric_landscape.hessian import Spectrum, density, hessian_product, spectrum
from bdm_metric_landscape.params import LandscapeParams
from bdm_metric_landscape.walk import between, landscape
from bdm_torch.analysis import charts
from bdm_torch.analysis.showing import keep_arrays, keep_pictures

CLEAN, POISON = "clean loss", "poison loss"
CELL = 20
MOST_LOSS = 10.0
"""Drawn losses are cut here."""
Rows = dict[str, tuple[Tensor, Tensor]]


def measure(ctx: Context, params: LandscapeParams, subject: Subject) -> list[Measurement]:
    """The largest and the mean eigenvalue of the Hessian of both losses, and how far the poison loss has risen."""
    examined = examine(ctx, subject, params.samples)
    if examined is None:
        return []
    rows = losses_of(examined)
    found = []
    for name, spectral in spectra(ctx, params, examined, rows).items():
        short = name.partition(" ")[0]
        count = len(rows[name][1])
        for metric, value, what in (
            ("top_eigenvalue", spectral.top, "Largest eigenvalue"),
            ("mean_eigenvalue", spectral.mean, "Mean eigenvalue (trace by dimension)"),
        ):
            found.append(
                Measurement(
                    metric=f"{short}_{metric}",
                    value=value,
                    on="clean" if name == CLEAN else "triggered",
                    n=count,
                    label=f"{what.partition(' (')[0]}, {name}",
                    description=f"{what} of the Hessian of the {name} with respect to all parameters, by Lanczos.",
                )
            )
    show_landscape(ctx, params, examined, rows)
    path(ctx, params, examined, rows, subject)
    if POISON not in rows:
        ctx.figures(left_out="the poison loss: the attack is untargeted and wants no class")
        return found
    found.append(
        Measurement(
            metric="poison_loss",
            value=ask(examined, rows)[1],
            on="triggered",
            higher_is_better=True,
            n=len(rows[POISON][1]),
            label="Poison loss",
            description="Mean cross entropy of triggered eligible rows with the attacker's class, from 0: small where "
            "the backdoor works.",
        )
    )
    return found


def losses_of(examined: Examined) -> Rows:
    """Inputs and labels of each loss; an untargeted attack has no poison loss."""
    known = [row for row, label in enumerate(examined.clean.labels.tolist()) if label >= 0]
    clean = examined.clean.pick(known)
    device, wanted = examined.classifier.device, examined.wanted
    rows = {CLEAN: (examined.inputs(clean), clean.labels.to(device))}
    if wanted is not None:
        rows[POISON] = (examined.inputs(examined.triggered), wanted.to(device))
    return rows


def ask(examined: Examined, rows: Rows) -> list[float]:
    """Each loss."""
    with torch.no_grad():
        return [float(functional.cross_entropy(examined.classifier(inputs), want)) for inputs, want in rows.values()]


def spectra(ctx: Context, params: LandscapeParams, examined: Examined, rows: Rows) -> dict[str, Spectrum]:
    """The spectrum of each loss's Hessian, drawn as densities."""
    classifier = examined.classifier
    parameters = [value.requires_grad_() for value in classifier.parameters()]
    dimension = sum(value.numel() for value in parameters)
    found, pictures = {}, []
    for name, (inputs, want) in rows.items():
        multiply = hessian_product(lambda i=inputs, w=want: functional.cross_entropy(classifier(i), w), parameters)  # type: ignore[misc]
        found[name] = spectrum(multiply, dimension, params.lanczos_steps, params.probes, ctx.seed)
        places, heights = density(found[name])
        keep_arrays(ctx, {f"Ritz values, {name}": found[name].values, f"Ritz weights, {name}": found[name].weights})
        curve = {name: torch.log10(heights + 1e-9).clamp_min(-6).tolist()}
        pictures.append((name, charts.lines(places.tolist(), curve, ("eigenvalue", "log10 of density"))))
    caption = "Density of the eigenvalues of the Hessian: the further right, the sharper the loss."
    keep_pictures(ctx, "Hessian spectrum", caption, pictures)
    return found


def show_landscape(ctx: Context, params: LandscapeParams, examined: Examined, rows: Rows) -> None:
    """The losses on one square around the model."""
    generator = torch.Generator().manual_seed(ctx.seed % 2**63)
    made = landscape(examined.classifier, lambda: ask(examined, rows), params.points, params.radius, generator)
    keep_arrays(ctx, {f"landscape of the {name}": made[place] for place, name in enumerate(rows)})
    drawn = [
        (
            f"{name}, {float(made[place].min()):.3g} to {float(made[place].max()):.3g}",
            charts.heat_map(torch.log10(made[place].nan_to_num(MOST_LOSS).clamp(1e-4, MOST_LOSS)).numpy(), CELL),
        )
        for place, name in enumerate(rows)
    ]
    caption = f"Logarithm of the loss in two random directions up to {params.radius:g} norms of each filter; dark is "
    keep_pictures(ctx, "Loss landscape", f"{caption}large, the model is in the middle.", drawn)


def path(ctx: Context, params: LandscapeParams, examined: Examined, rows: Rows, subject: Subject) -> None:
    """The losses on the straight way from the undefended model to a repaired one of the same architecture."""
    if subject.role != "repaired" or subject.undefended is None:
        return
    before = load_classifier(subject.undefended, ctx.device)
    shapes = [{key: value.shape for key, value in item.state_dict().items()} for item in (before, examined.classifier)]
    if shapes[0] != shapes[1]:
        ctx.figures(left_out="the path from the undefended model: the repaired one has another architecture")
        return
    shares = torch.linspace(0, 1, params.points).tolist()
    walked = between(examined.classifier, before, lambda: ask(examined, rows), [1 - share for share in shares])
    keep_arrays(ctx, {f"{name} on the path": walked[place] for place, name in enumerate(rows)})
    curves = {name: walked[place].clamp_max(MOST_LOSS).tolist() for place, name in enumerate(rows)}
    picture = charts.lines(shares, curves, ("from undefended to repaired", "loss"), [charts.COLOURS[0], charts.SIGNAL])
    caption = "Losses on the straight way between the weights; a poison loss that stays low means a shallow repair."
    keep_pictures(ctx, "Poison loss from the undefended to the repaired model", caption, [("", picture)])
