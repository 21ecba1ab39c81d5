"""Which orderings of attacks on the published leaderboard hold here: success over poison rates, compared by ranks."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import spearmanr

PUBLISHED: Mapping[float, Mapping[str, float]] = {
    0.1: {
        "badnets": 0.950,
        "blended": 0.999,
        "low-frequency": 0.993,
        "ssba": 0.979,
        "wanet": 0.897,
        "input-aware": 0.983,
        "bpp": 0.998,
        "trojannn": 1.000,
    },
    0.01: {
        "badnets": 0.747,
        "blended": 0.949,
        "label-consistent": 0.906,
        "sig": 0.834,
        "low-frequency": 0.865,
        "ssba": 0.734,
        "wanet": 0.126,
        "input-aware": 0.792,
        "trojannn": 1.000,
    },
    0.001: {"badnets": 0.012, "blended": 0.561, "wanet": 0.008, "trojannn": 0.981},
}
"""Rate -> attack -> success on CIFAR-10 with PreAct-ResNet18, one seed: the leaderboard of BackdoorBench."""
ALIKE = 0.05
"""Successes nearer than this are no order: the leaderboard has one seed."""


def reversed_pairs(here: Mapping[str, float], published: Mapping[str, float]) -> list[tuple[str, str]]:
    """Pairs (first, second) of which the first is ahead there and behind here, both by more than `ALIKE`."""
    names = sorted(here.keys() & published.keys())
    return [
        (one, other)
        for one in names
        for other in names
        if published[one] - published[other] > ALIKE and here[other] - here[one] > ALIKE
    ]


def comparable(published: Mapping[str, float], names: Sequence[str]) -> int:
    """Of how many pairs of attacks the leaderboard has an order."""
    return sum(published[one] - published[other] > ALIKE for one in names for other in names)


def in_order(values: Mapping[str, float], names: Sequence[str]) -> str:
    """The attacks from the most to the least successful, with their success."""
    return ", ".join(f"{name} {values[name]:.2f}" for name in sorted(names, key=lambda name: (-values[name], name)))


def item(text: str) -> str:
    """An item of a list, in lines."""
    return textwrap.fill(text, 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) + "\n"


def at_rate(rate: float, here: Mapping[str, float]) -> str:
    """A paragraph on one rate."""
    published = PUBLISHED[rate]
    names = sorted(here.keys() & published.keys())
    if len(names) < 2:
        return ""
    turned, pairs = reversed_pairs(here, published), comparable(published, names)
    text = f"- **{rate * 100:g} %.** Published: {in_order(published, names)}. Here: {in_order(here, names)}."
    if pairs == 0:
        return item(f"{text} All published ones are within .05 of each other.")
    text += f" Of the {pairs} pairs with a published order {len(turned)} are the other way round here"
    if turned:
        text += ": " + ", ".join(f"{other} before {one}" for one, other in turned)
    if len(names) >= 4:
        found: Any = spearmanr([here[name] for name in names], [published[name] for name in names])
        text += f" (rank correlation {found.statistic:.2f}, p = {found.pvalue:.2f}, {len(names)} attacks)"
    return item(f"{text}.")


def orderings(success: Mapping[float, Mapping[str, float]]) -> str:
    """What the rates say in words. `success`: rate -> attack -> mean success over seeds."""
    text = (
        "### In words, beside the published leaderboard\n\n"
        "The leaderboard of BackdoorBench (CIFAR-10, PreAct-ResNet18, one seed) has the success of these attacks at\n"
        "10, 1 and .1 %. Pairs nearer than .05 count as no order.\n\n"
    )
    text += "".join(at_rate(rate, success.get(rate, {})) for rate in sorted(PUBLISHED, reverse=True))
    falling = [
        name
        for name in sorted(success.get(0.1, {}))
        if name in success.get(0.001, {}) and success[0.1][name] - success[0.001][name] > ALIKE
    ]
    standing = sorted((success.get(0.1, {}).keys() & success.get(0.001, {}).keys()) - set(falling))
    text += item(
        f"- **From 10 to .1 %** (4 rows) the success falls for {', '.join(falling) or 'none'}"
        f"{'; not for ' + ', '.join(standing) if standing else ''}."
    )
    return text
