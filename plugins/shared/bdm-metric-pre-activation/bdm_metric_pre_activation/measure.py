"""Which filters carry the backdoor by their scores, and how far the trigger moves what they answer."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_metric_pre_activation.filters import Suspect, ablation_scores, answers, first_convolutions, taylor_scores
from bdm_metric_pre_activation.params import PreActivationParams
from bdm_torch.analysis import charts
from bdm_torch.analysis.showing import keep_arrays, keep_pictures

PAIR = [charts.COLOURS[0], charts.SIGNAL]
DRAWN = 3
"""Filters of each end whose distributions are drawn."""


class Filter(NamedTuple):
    """One filter.

    Attributes:
        layer: its layer's name.
        number: its number there.
        score: high if it carries the backdoor.
        shift: how far the trigger moves its answers, in standard deviations.
    """

    layer: str
    number: int
    score: float
    shift: float


def measure(ctx: Context, params: PreActivationParams, subject: Subject) -> list[Measurement]:
    """The shift of the answers of the filters with the highest and with the lowest scores."""
    suspect = suspect_of(ctx, params, subject)
    if suspect is None:
        return []
    layers = first_convolutions(suspect, params.layers)
    taylor = params.score == "taylor" or (params.score == "auto" and is_of_prompts(subject))
    scores = (taylor_scores if taylor else ablation_scores)(suspect, layers, params.draws)
    sides = {side: answers(suspect, layers, side, params.step, params.batch_size) for side in ("clean", "triggered")}
    ranked = ranking(scores, sides)
    show(ctx, params, ranked, sides)
    for name, values in scores.items():
        keep_arrays(ctx, {f"scores of {name}": values})
    return numbers(ranked, params.filters, suspect.count)


def suspect_of(ctx: Context, params: PreActivationParams, subject: Subject) -> Suspect | None:
    """What is looked at, as the task has it."""
    if is_of_prompts(subject):
        from bdm_metric_pre_activation import prompts

        return prompts.suspect_of(ctx, params, subject)
    from bdm_metric_pre_activation import noise

    return noise.suspect_of(ctx, params, subject)


def is_of_prompts(subject: Subject) -> bool:
    """Whether the row is one of text-to-image."""
    return subject.secret.format == "prompt-secret"


def ranking(scores: dict[str, Tensor], sides: dict[str, dict[str, Tensor]]) -> list[Filter]:
    """All filters, the highest score first. Shifts are of the means, by the mean of both sides' deviations.

    >>> sides = {"clean": {"a": torch.tensor([[0.0], [2.0]])}, "triggered": {"a": torch.tensor([[3.0], [5.0]])}}
    >>> round(ranking({"a": torch.tensor([1.0])}, sides)[0].shift, 3)
    2.121
    """
    found = []
    for name, values in scores.items():
        clean, triggered = sides["clean"][name], sides["triggered"][name]
        spread = (clean.std(0) + triggered.std(0)) / 2
        shifts = (triggered.mean(0) - clean.mean(0)).abs() / spread.clamp(min=1e-9)
        found += [Filter(name, place, float(values[place]), float(shifts[place])) for place in range(len(values))]
    return sorted(found, key=lambda item: -item.score)


def numbers(ranked: list[Filter], count: int, samples: int) -> list[Measurement]:
    """Shifts of both ends, and how few filters have the scores."""
    kept = min(count, len(ranked))
    total = sum(abs(item.score) for item in ranked)
    share = sum(abs(item.score) for item in ranked[:kept]) / total if total > 0 else None
    shifts = [sum(item.shift for item in part) / kept for part in (ranked[:kept], ranked[-kept:])]
    told = "How far the trigger moves a filter's largest pre-activation, in standard deviations, from 0; mean over the"
    return [
        Measurement(
            metric="shift_top",
            value=shifts[0],
            on="triggered",
            higher_is_better=False,
            n=samples,
            label="Shift of backdoor filters",
            description=f"{told} {kept} filters with the highest scores.",
        ),
        Measurement(
            metric="shift_bottom",
            value=shifts[1],
            on="triggered",
            higher_is_better=False,
            n=samples,
            label="Shift of clean filters",
            description=f"{told} {kept} filters with the lowest scores.",
        ),
        Measurement(
            metric="concentration",
            value=share,
            on="triggered",
            n=samples,
            label="Score in the top filters",
            description=f"Share of the sizes of all scores that the {kept} filters with the highest have, 0 to 1.",
            share=True,
        ),
    ]


def show(ctx: Context, params: PreActivationParams, ranked: list[Filter], sides: dict[str, dict[str, Tensor]]) -> None:
    """The distributions of both ends, all scores, and a table of the filters shown."""
    kept = min(params.filters, len(ranked))
    ends = {"highest": ranked[:kept], "lowest": ranked[-kept:][::-1]}
    for end, chosen in ends.items():
        drawn = []
        for item in chosen[:DRAWN]:
            values = {side: each[item.layer][:, item.number].numpy() for side, each in sides.items()}
            label = f"filter {item.number} of {item.layer}, score {item.score:.3g}"
            drawn.append((label, charts.densities(values, "largest pre-activation", PAIR)))
        caption = "Largest value of the filter's map, positions divided by their norm over the channels."
        keep_pictures(ctx, f"Pre-activations of the filters with the {end} scores", caption, drawn)
    chart = charts.bars([item.score for item in ranked], ("filter, the highest score first", "score"), range(kept))
    keep_pictures(ctx, "Scores of filters", "Those with the highest scores are red.", [("", chart)])
    rows = [[end, item.layer, item.number, item.score, item.shift] for end in ends for item in ends[end]]
    head = ["score", "layer", "filter", "score", "shift"]
    ctx.figures(tables={"filters with the highest and the lowest scores": {"head": head, "rows": rows}})
    for side, each in sides.items():
        keep_arrays(ctx, {f"pre-activations of {name}, {side}": values for name, values in each.items()})
