"""The layers of a network: a table, and a drawing."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from bdm_kit_classification.models.classifier import Classifier
from bdm_torch.analysis import charts

Layer = tuple[str, str, tuple[int, ...], int]
"""Name, type, shape of the output of one sample, number of parameters."""
BLOCK, TALL = 32, 200


def layers_of(classifier: Classifier, shape: tuple[int, ...]) -> list[Layer]:
    """All modules without children that run for a picture of ``shape``, in the order in which they do."""
    found: dict[str, Layer] = {}
    names = {id(module): name for name, module in classifier.named_modules() if not list(module.children())}

    def seen(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            count = sum(value.numel() for value in module.parameters(recurse=False))
            name = names[id(module)]
            found.setdefault(name, (name, type(module).__name__, tuple(output.shape[1:]), count))

    hooks = [module.register_forward_hook(seen) for module in classifier.modules() if id(module) in names]
    try:
        with torch.no_grad():
            classifier(torch.zeros(1, *shape, device=classifier.device))
    finally:
        for hook in hooks:
            hook.remove()
    return list(found.values())


def table(layers: list[Layer], most: int) -> dict[str, Any]:
    """Head and rows, the last row the sum."""
    rows: list[list[Any]] = [
        [name, kind, "x".join(map(str, shape)), count] for name, kind, shape, count in layers[:most]
    ]
    rows.append(["all", f"{len(layers)} layers", "", sum(layer[3] for layer in layers)])
    return {"head": ["layer", "type", "output", "parameters"], "rows": rows}


def drawn(layers: list[Layer], most: int = 24) -> Image.Image:
    """A block for each layer that has weights of two dimensions or more, as high as its maps and labelled with its
    units.
    """
    chosen = [layer for layer in layers if layer[1] not in ("BatchNorm2d", "LayerNorm", "Dropout", "Identity", "ReLU")]
    chosen = [layer for layer in chosen if layer[3]][:most]
    picture = Image.new("RGB", (max(1, len(chosen)) * (BLOCK + 14) + 14, TALL + 60), charts.PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    highest = max((layer[2][-1] for layer in chosen if len(layer[2]) == 3), default=1)
    for number, (_, kind, shape, _) in enumerate(chosen):
        side = shape[-1] if len(shape) == 3 else 1
        height = max(12, round(TALL * side / highest))
        left, middle = 14 + number * (BLOCK + 14), 20 + TALL / 2
        colour = charts.COLOURS[0] if kind == "Conv2d" else charts.COLOURS[1]
        pen.rectangle((left, middle - height / 2, left + BLOCK, middle + height / 2), fill=colour)
        if number:
            pen.line((left - 14, middle, left, middle), fill=charts.FAINT)
        pen.text((left + BLOCK / 2, TALL + 34), str(shape[0]), fill=charts.INK, font=font, anchor="mm")
        pen.text(
            (left + BLOCK / 2, TALL + 48),
            f"{side}x{side}" if side > 1 else "",
            fill=charts.FAINT,
            font=font,
            anchor="mm",
        )
    return picture
