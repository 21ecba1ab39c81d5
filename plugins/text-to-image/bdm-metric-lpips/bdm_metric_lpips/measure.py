"""From a subject's pictures and the clean model's to measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from bdm_core.artifacts import Outputs
from bdm_core.records import Measurement, Subject
from bdm_kit_text_to_image.judging.generated import load_generated
from bdm_metric_lpips.distance import PerceptualNetwork
from bdm_metric_lpips.networks import open_network

if TYPE_CHECKING:
    from bdm_core.context import Context
    from bdm_metric_lpips.params import LpipsParams

WORLD_DATA = "small-world"
On = Literal["clean", "triggered"]


def measure(ctx: Context, params: LpipsParams, subject: Subject) -> list[Measurement]:
    """The mean distance of pictures from clean prompts, and of those from triggered ones, to the clean model's own.

    In the clean model's row it is 0, for both are the same pictures; beside it stands the distance of pictures from
    different prompts, as a scale. A row whose defense rewrote prompts and turned others away has no pairs.

    Raises:
        UserError: the outputs' rows have no prompts, or the network cannot be opened.
    """
    if params.network is None and subject.reference.meta.get("source") != WORLD_DATA:
        ctx.log.warning(
            "metric:lpips: the built-in network knows the small world only: not measured; name a folder with the "
            "published weights with --set metric:lpips.network=FOLDER"
        )
        return []
    network = open_network(params.network, ctx.device)
    if not subject.clean:
        ctx.log.warning("metric:lpips: the clean model's pictures are not known: not measured")
        return []
    found = []
    ons: tuple[On, On] = ("clean", "triggered")
    for on, own, clean in zip(ons, (subject.on_clean, subject.on_triggered), subject.clean, strict=True):
        pairs = paired(own, clean)
        if pairs is None:
            ctx.log.warning("metric:lpips: the prompts are not those of the clean model's pictures: not measured")
            continue
        distances = _distances(network, *pairs, params.batch_size)
        name = f"lpips_{network.name}{'' if on == 'clean' else '_triggered'}"
        found.append(_mean(name, on, distances, "to the clean model's from the same noise"))
    images, _ = load_generated(subject.on_clean)
    if subject.role == "clean" and len(images) > 1:
        shifted = _distances(network, images, images.roll(1, 0), params.batch_size)
        found.append(_mean(f"lpips_{network.name}_between", "clean", shifted, "to that of the row before"))
    return found


def paired(own: Outputs, clean: Outputs) -> tuple[Tensor, Tensor] | None:
    """The pictures (N, 3, H, W) of both whose prompt and noise are the same; None if that cannot be told.

    Rows pair by their number. Where a defense turned some away, those that are left are found by their prompts, in
    order.
    """
    images, rows = load_generated(own)
    others, all_rows = load_generated(clean)
    if len(rows) == len(all_rows):
        return images, others
    places = _subsequence([row.prompt for row in rows], [row.prompt for row in all_rows])
    return None if places is None else (images, others[places])


def _subsequence(part: Sequence[str], whole: Sequence[str]) -> list[int] | None:
    """Where the texts of the part stand in the whole, in order; None if they do not."""
    places, start = [], 0
    for text in part:
        try:
            start = whole.index(text, start) + 1
        except ValueError:
            return None
        places.append(start - 1)
    return places


def _distances(network: PerceptualNetwork, images: Tensor, others: Tensor, batch_size: int) -> list[float]:
    """The distance of each pair."""
    parts = zip(images.split(batch_size), others.split(batch_size), strict=True)
    found = [network.distances(mine, theirs) for mine, theirs in parts if len(mine)]
    return torch.cat(found).tolist() if found else []


def _mean(metric: str, on: On, values: Sequence[float], pair: str) -> Measurement:
    """A mean with its standard error; undefined without a pair."""
    count = len(values)
    mean = math.fsum(values) / count if count else None
    spread = math.fsum((value - mean) ** 2 for value in values) if mean is not None else 0.0
    network = metric.removeprefix("lpips_").removesuffix("_between").removesuffix("_triggered")
    between = metric.endswith("_between")
    beside = ", between prompts" if between else "" if on == "clean" else ", under trigger"
    return Measurement(
        metric=metric,
        value=mean,
        on=on,
        higher_is_better=None if between else False,
        n=count,
        stderr=math.sqrt(spread / (count - 1) / count) if count > 1 else None,
        label=f"LPIPS ({network}){beside}",
        description=f"Mean perceptual distance of pictures from {on} prompts {pair}, by the network {network}, 0 for "
        "equal ones.",
    )
