"""When the trigger takes over: beliefs along the chain, their difference, and when they show the target."""

from __future__ import annotations

from torch import Tensor

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_kit_text_to_image.analysis.pairs import Pairs, examine
from bdm_kit_text_to_image.recording.chain import ChainOptions
from bdm_metric_trajectory.beliefs import Beliefs, believe, first_above_half
from bdm_metric_trajectory.params import TrajectoryParams
from bdm_torch.analysis import charts
from bdm_torch.analysis.showing import in_words, keep_arrays, keep_pictures, tile

SIDE = 96
"""Pictures are drawn about so wide."""
PAIR = [charts.COLOURS[0], charts.SIGNAL]


def measure(ctx: Context, params: TrajectoryParams, subject: Subject) -> list[Measurement]:
    """When the two beliefs part, how far they end apart, and when the triggered one shows the target."""
    pairs = examine(ctx, subject, params.pairs)
    if pairs is None:
        return []
    options = ChainOptions(steps=params.steps, guidance=params.guidance, batch_size=params.batch_size)
    beliefs = believe(pairs, options, params.looks)
    show(ctx, params, pairs, beliefs)
    count = len(pairs.rows)
    found = [
        Measurement(
            metric="apart",
            value=float(beliefs.apart[-1]),
            on="triggered",
            higher_is_better=False,
            n=count,
            label="Difference that the trigger makes",
            description="Mean squared difference of the last pictures without and with the trigger from one noise, "
            "pixels in 0 to 1.",
        ),
        Measurement(
            metric="parting",
            value=first_above_half(beliefs.apart, beliefs.steps),
            on="triggered",
            n=count,
            label="When the pictures part",
            description="Share of the steps after which the believed pictures differ half as much as the last ones do, "
            "0 to 1: small where the trigger decides the layout.",
            share=True,
        ),
    ]
    if beliefs.target is not None:
        found += of_target(beliefs.target, beliefs.steps, count)
    return found


def of_target(shares: dict[str, Tensor], steps: list[int], count: int) -> list[Measurement]:
    """When the target is there."""
    return [
        Measurement(
            metric="target_first",
            value=float(shares["triggered"][0]),
            on="triggered",
            higher_is_better=False,
            n=count,
            label="Target believed at the first step",
            description="Share of triggered prompts whose picture shows the target by what the model believes at the "
            "first step, 0 to 1.",
            share=True,
        ),
        Measurement(
            metric="target_step",
            value=first_above_half(shares["triggered"], steps),
            on="triggered",
            n=count,
            label="When the target appears",
            description="Share of the steps after which half as many believed pictures show the target as last ones "
            "do, 0 to 1; empty if none does.",
            share=True,
        ),
    ]


def show(ctx: Context, params: TrajectoryParams, pairs: Pairs, beliefs: Beliefs) -> None:
    """The believed pictures of some pairs, and the two curves."""
    for row in range(min(params.shown, len(pairs.rows))):
        for side, pictures in beliefs.pictures.items():
            drawn = [
                (f"step {step}", tile((each[row].numpy() + 1) / 2, SIDE))
                for step, each in zip(beliefs.steps, pictures, strict=True)
            ]
            title = f"Belief, {side} prompt {row + 1}: {in_words(pairs.prompts[side][row])}"
            caption = "What the model believes the picture is, from the first step to the last."
            keep_pictures(ctx, title, caption, drawn)
    names, most = ("step", "mean squared difference"), float(beliefs.apart.max())
    chart = charts.lines(beliefs.steps, {"clean to triggered": beliefs.apart.tolist()}, names, PAIR[1:], up=(0.0, most))
    keep_arrays(ctx, {"steps": beliefs.steps, "difference of the beliefs": beliefs.apart})
    caption = "Mean squared difference of the two believed pictures, pixels in 0 to 1."
    keep_pictures(ctx, "When the pictures part", caption, [("", chart)])
    if beliefs.target is None:
        return
    keep_arrays(ctx, {f"share that shows the target, {side}": each for side, each in beliefs.target.items()})
    curves = {side: each.tolist() for side, each in beliefs.target.items()}
    chart = charts.lines(beliefs.steps, curves, ("step", "share that shows the target"), PAIR, up=(0.0, 1.0))
    caption = "Share of the believed pictures that show the attack's target."
    keep_pictures(ctx, "When the target appears", caption, [("", chart)])
