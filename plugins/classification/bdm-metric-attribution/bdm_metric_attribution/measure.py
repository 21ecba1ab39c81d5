"""What the model's answer to clean and to triggered rows rests on, and how much of it is the trigger."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Measurement, Subject
from bdm_kit_classification.analysis.rows import Examined, examine
from bdm_kit_classification.models.feature_maps import stage_ends
from bdm_metric_attribution.params import AttributionParams
from bdm_metric_attribution.saliency import frequency_saliency, grad_cam, shap_values
from bdm_torch.analysis import charts
from bdm_torch.analysis.showing import beside, keep_arrays, keep_pictures, overlaid, picture_of

LEVEL = 0.5 / 255
"""A pixel that changes by more than half a level is part of the trigger."""
SCALE, FREQUENCY_CELL = 3, 8
SHARE = (
    "Share of {} on the pixels that the trigger changes, mean over triggered rows, in [0, 1]; the pixels are {:.3f} "
)
SHARE += "of the picture."


@dataclass(frozen=True, eq=False)
class Explained:
    """Pictures (N, C, H, W) with the class that the model says of each, (N,)."""

    pictures: Tensor
    said: Tensor

    @classmethod
    def of(cls, examined: Examined, pictures: Tensor) -> Explained:
        """Asks the model."""
        with torch.no_grad():
            return cls(pictures, examined.classifier(pictures).argmax(1))


def measure(ctx: Context, params: AttributionParams, subject: Subject) -> list[Measurement]:
    """The share of Grad-CAM and of SHAP values on the trigger's pixels."""
    examined = examine(ctx, subject, max(4 * params.samples, 64))
    if examined is None:
        return []
    rows = list(range(min(params.samples, len(examined.triggered))))
    clean, triggered = (
        Explained.of(examined, examined.inputs(samples.pick(rows)))
        for samples in (examined.without, examined.triggered)
    )
    mask = (triggered.pictures - clean.pictures).abs().amax(1).cpu() > LEVEL
    found = []
    for name, label, values in (
        ("cam_on_trigger", "Grad-CAM on the trigger", cams(ctx, params, examined, clean, triggered)),
        ("shap_on_trigger", "SHAP on the trigger", shap(ctx, params, examined, clean, triggered)),
    ):
        if values is not None:
            share = share_on(values, mask)
            found.append(
                Measurement(
                    metric=name,
                    value=share,
                    on="triggered",
                    higher_is_better=False,
                    n=len(rows),
                    share=True,
                    label=label,
                    description=SHARE.format(label.partition(" on ")[0], float(mask.double().mean())),
                )
            )
    show_frequencies(ctx, examined, clean, triggered)
    return found


def share_on(values: Tensor, mask: Tensor) -> float | None:
    """Mean over rows of the share of the absolute values (N, H, W) that lies on a mask (N, H, W).

    >>> share_on(torch.tensor([[[3.0, -1.0]]]), torch.tensor([[[True, False]]]))
    0.75
    """
    size = values.abs().double()
    whole = size.sum((1, 2))
    usable = whole > 0
    if not bool(usable.any()):
        return None
    return float(((size * mask).sum((1, 2))[usable] / whole[usable]).mean().clamp(0, 1))


def cams(
    ctx: Context, params: AttributionParams, examined: Examined, clean: Explained, triggered: Explained
) -> Tensor | None:
    """Grad-CAM of triggered rows, (N, H, W), for the class that is said; None where the model has no feature maps."""
    try:
        layer = stage_ends(examined.classifier, clean.pictures[:1])[-1]
    except UserError as error:
        ctx.figures(left_out=f"Grad-CAM: {error}")
        return None
    found = [grad_cam(examined.classifier, layer, item.pictures, item.said) for item in (clean, triggered)]
    keep_arrays(
        ctx, {"mean Grad-CAM of clean rows": found[0].mean(0), "mean Grad-CAM of triggered rows": found[1].mean(0)}
    )
    show(ctx, params, examined, "Grad-CAM", clean, triggered, found)
    return found[1]


def shap(ctx: Context, params: AttributionParams, examined: Examined, clean: Explained, triggered: Explained) -> Tensor:
    """The sizes of SHAP values of triggered rows, summed over channels, (N, H, W)."""
    background = examined.inputs(examined.clean)
    generator = torch.Generator().manual_seed(ctx.seed % 2**63)
    found = []
    for item in (clean, triggered):
        values = shap_values(examined.classifier, item.pictures, item.said, background, params.background, generator)
        found.append(values.abs().sum(1))
    keep_arrays(ctx, {"mean SHAP of clean rows": found[0].mean(0), "mean SHAP of triggered rows": found[1].mean(0)})
    heats = [values / values.amax((1, 2), keepdim=True).clamp_min(1e-12) for values in found]
    show(ctx, params, examined, "SHAP values", clean, triggered, heats)
    return found[1]


def show(  # one figure needs all of it
    ctx: Context,
    params: AttributionParams,
    examined: Examined,
    title: str,
    clean: Explained,
    triggered: Explained,
    heats: list[Tensor],
) -> None:
    """The first rows with their heat maps, without and with the trigger."""
    names, pictures = examined.clean.classes, []
    for row in range(min(params.shown, len(clean.said))):
        tiles = []
        for item, heat in zip((clean, triggered), heats, strict=True):
            sample = item.pictures[row].cpu().numpy()
            tiles += [picture_of(sample), overlaid(sample, heat[row].numpy())]
        enlarged = [tile.resize((tile.width * SCALE, tile.height * SCALE), 0) for tile in tiles]
        said = [names[int(item.said[row])] for item in (clean, triggered)]
        pictures.append((f"{said[0]}; triggered: {said[1]}", beside(enlarged, gap=3)))
    caption = "For the class that the model says, red where it rests on: without and with the trigger."
    keep_pictures(ctx, title, caption, pictures)


def show_frequencies(ctx: Context, examined: Examined, clean: Explained, triggered: Explained) -> None:
    """Saliency by frequency of both, and the mean spectrum of the trigger's change."""
    maps = {
        "clean": frequency_saliency(examined.classifier, clean.pictures, clean.said),
        "triggered": frequency_saliency(examined.classifier, triggered.pictures, triggered.said),
    }
    change = (triggered.pictures - clean.pictures).double()
    maps["change by the trigger"] = torch.fft.fftshift(torch.fft.fft2(change, norm="ortho").abs().mean((0, 1))).cpu()
    keep_arrays(ctx, {f"frequency saliency, {name}": values for name, values in maps.items()})
    drawn = [
        (name, charts.heat_map(torch.log10(values + 1e-6).numpy(), FREQUENCY_CELL)) for name, values in maps.items()
    ]
    caption = "Logarithm of the derivative by each frequency, the constant part in the middle; dark is large."
    keep_pictures(ctx, "Frequency saliency", caption, drawn)
