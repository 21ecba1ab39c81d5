"""Which published orderings of defenses hold in the pairs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from classifier_pairs_numbers import (
    Number,
    after,
    before,
    counts,
    effectiveness,
    is_clean,
    loss,
    mean,
    of_defense,
    table,
)
from swept import Line

from bdm_results.intervals import Estimate

BOARD = (
    *("badnets", "blended", "low-frequency", "ssba", "wanet", "input-aware", "bpp", "trojannn"),
    *("label-consistent", "sig"),
)
"""The attacks of the published board."""
USUAL_RATE = 0.05
LEAST = 3
"""Over fewer attacks nothing is said of an order."""
FLAT = 0.10
"""A change of the ASR within this, or a DER so near to .5, is none."""
HIGH = 0.80
"""An ASR that says that the backdoor is still there."""
HOLDS, NOT, OPEN, FEW = "holds", "does not hold", "undecided", "too few pairs"


@dataclass(frozen=True)
class Finding:
    """What the pairs say of a published ordering."""

    verdict: str
    here: str
    pairs: int


Test = Callable[[Sequence[Line]], Finding]


def rate_of(line: Line) -> float:
    """The share of all rows that is poisoned, about; clean-label attacks count the target class, a tenth of all."""
    share = line["params"].get("target_class_share")
    return float(line["params"].get("poison_rate", USUAL_RATE) if share is None else share / 10)


def at(lines: Sequence[Line], rate: float, defense: str) -> list[Line]:
    """The lines of a defense on attacks of the board that work, at a rate."""
    own = of_defense(lines, defense)
    return [line for line in own if line["attack"] in BOARD and counts(line) and near(rate_of(line), rate)]


def near(one: float, other: float) -> bool:
    """Whether a rate is another, about."""
    return abs(one - other) < other / 10


def by_attack(lines: Sequence[Line], number: Number) -> dict[str, float]:
    """Attack -> mean over its seeds."""
    found = {}
    for name in dict.fromkeys(line["attack"] for line in lines):
        value = mean([line for line in lines if line["attack"] == name], number)
        if value is not None:
            found[name] = value
    return found


def matched(one: Sequence[Line], other: Sequence[Line], number: Number) -> tuple[list[float], int]:
    """Differences (one less other) of each attack and seed that both have, averaged over seeds; and of how many lines.

    >>> made = [{"attack": "a", "seed": 0, "n": 3.0}, {"attack": "a", "seed": 1, "n": 1.0}]
    >>> matched(made, [{"attack": "a", "seed": 1, "n": 0.5}], lambda line: line["n"])
    ([0.5], 2)
    """
    first = {(line["attack"], line["seed"]): number(line) for line in one}
    second = {(line["attack"], line["seed"]): number(line) for line in other}
    by: dict[str, list[float]] = {}
    for key in first.keys() & second.keys():
        here, there = first[key], second[key]
        if here is not None and there is not None:
            by.setdefault(key[0], []).append(here - there)
    return [statistics.mean(by[name]) for name in sorted(by)], 2 * sum(map(len, by.values()))


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean and the ends of its 95 % t interval over attacks."""
    found = Estimate(statistics.mean(values), statistics.stdev(values), len(values))
    half = found.half_width or 0.0
    return found.mean, found.mean - half, found.mean + half


def decided(values: Sequence[float], pairs: int, what: str, *, flat: float | None = None) -> Finding:
    """Whether a mean is above 0, or with ``flat`` within that of 0, by its interval over attacks."""
    if len(values) < LEAST:
        return Finding(FEW, f"{len(values)} of at least {LEAST} attacks", pairs)
    centre, low, high = interval(values)
    here = f"{what} {centre:+.2f} ({low:+.2f} to {high:+.2f}), {len(values)} attacks"
    if flat is None:
        return Finding(HOLDS if low > 0 else NOT if high < 0 else OPEN, here, pairs)
    inside, outside = -flat <= low and high <= flat, low > flat or high < -flat
    return Finding(HOLDS if inside else NOT if outside else OPEN, here, pairs)


def better(one: str, other: str, rate: float) -> Test:
    """That the DER of one defense is above that of the other."""

    def test(lines: Sequence[Line]) -> Finding:
        values, pairs = matched(at(lines, rate, one), at(lines, rate, other), effectiveness)
        return decided(values, pairs, "DER")

    return test


def alike(one: str, other: str, rate: float) -> Test:
    """That the ASR is the same behind two defenses."""

    def test(lines: Sequence[Line]) -> Finding:
        values, pairs = matched(at(lines, rate, one), at(lines, rate, other), after("asr"))
        return decided(values, pairs, "ASR", flat=FLAT)

    return test


def change(defense: str, before: float, later: float, direction: int) -> Test:
    """That the ASR behind a defense rises (1), falls (-1) or stays (0) from one rate to another."""

    def test(lines: Sequence[Line]) -> Finding:
        values, pairs = matched(at(lines, later, defense), at(lines, before, defense), after("asr"))
        if direction < 0:
            return decided([-value for value in values], pairs, "fall of the ASR")
        return decided(values, pairs, "rise of the ASR", flat=None if direction else FLAT)

    return test


def useless(defense: str, rate: float) -> Test:
    """That the DER is one half."""

    def test(lines: Sequence[Line]) -> Finding:
        own = at(lines, rate, defense)
        return decided(
            [value - 0.5 for value in by_attack(own, effectiveness).values()], len(own), "DER - .5", flat=FLAT
        )

    return test


def costs(defense: str, rate: float, least: float) -> Test:
    """That the accuracy lost is above a bound."""

    def test(lines: Sequence[Line]) -> Finding:
        own = at(lines, rate, defense)
        values = [value - least for value in by_attack(own, loss).values()]
        return decided(values, len(own), f"loss of accuracy - {least:g}")

    return test


def on_each(defense: str, attacks: Sequence[str], *, gone: bool) -> Test:
    """That the backdoor is gone (ASR below .2) behind a defense on each of some attacks, or is still there."""

    def test(lines: Sequence[Line]) -> Finding:
        own = [line for line in of_defense(lines, defense) if line["attack"] in attacks and not is_clean(line)]
        own = [line for line in own if near(rate_of(line), USUAL_RATE)]
        undefended = by_attack(own, before("asr"))
        found = by_attack([line for line in own if undefended[line["attack"]] >= HIGH], after("asr"))
        weak = [f"{name} has {value:.2f} undefended" for name, value in undefended.items() if name not in found]
        here = ", ".join([*(f"{name} {value:.2f}" for name, value in found.items()), *weak])
        right = [value < 1 - HIGH if gone else value >= HIGH for value in found.values()]
        if not all(right):
            return Finding(NOT, f"ASR {here}", len(own))
        if len(found) < len(attacks):
            return Finding(FEW, f"ASR {here}" if here else "none measured", len(own))
        return Finding(HOLDS, f"ASR {here}", len(own))

    return test


def left_alone(lines: Sequence[Line]) -> Finding:
    """That most models that Neural Cleanse does not repair are those that it calls clean."""
    own = at(lines, USUAL_RATE, "neural-cleanse")
    failed = [line for line in own if (after("asr")(line) or 0.0) >= 1 - HIGH]
    if len({line["attack"] for line in own}) < LEAST:
        return Finding(FEW, f"{len({line['attack'] for line in own})} of at least {LEAST} attacks", len(own))
    alone = sum(line["backdoored"].get("verdict") == 0.0 for line in failed)
    here = f"{alone} of {len(failed)} that keep an ASR of .20 are called clean"
    if not failed:
        return Finding(NOT, "none keeps an ASR of .20", len(own))
    return Finding(HOLDS if alone > len(failed) / 2 else NOT, here, len(own))


TEN, FIVE, ONE = 0.1, 0.05, 0.01
PUBLISHED: Sequence[tuple[str, Test]] = (
    ("5 %: i-BAU before FT (DER 89.3, 65.0)", better("i-bau", "fine-tune", FIVE)),
    ("5 %: EP before FT (84.8, 65.0)", better("ep", "fine-tune", FIVE)),
    ("5 %: i-BAU before NC (89.3, 59.0)", better("i-bau", "neural-cleanse", FIVE)),
    ("5 %: FT before FP (65.0, 62.0)", better("fine-tune", "fine-pruning", FIVE)),
    ("5 %: EP before CLP (84.8, 69.4)", better("ep", "clp", FIVE)),
    ("5 %: CLP before BNP (69.4, 59.9)", better("clp", "bnp", FIVE)),
    ("5 %: FT before ABL (65.0, 58.6)", better("fine-tune", "abl", FIVE)),
    ("5 %: FT before D-BR (65.0, 49.9)", better("fine-tune", "d-br", FIVE)),
    ("5 %: NAD is no better than FT (ASR 63.8, 64.9)", alike("nad", "fine-tune", FIVE)),
    ("5 %: AC does not help (DER 50.1)", useless("activation-clustering", FIVE)),
    ("5 %: ABL costs more than 10 points of accuracy (30.9)", costs("abl", FIVE, 0.1)),
    ("5 %: DBD costs more than 10 points of accuracy (14.8)", costs("dbd", FIVE, 0.1)),
    ("5 %: FT leaves LC and SIG (ASR 100, 96.4)", on_each("fine-tune", ("label-consistent", "sig"), gone=False)),
    ("5 %: NC leaves LC and SIG (100, 97.1)", on_each("neural-cleanse", ("label-consistent", "sig"), gone=False)),
    ("5 %: i-BAU stops LC and SIG (3.8, 3.5)", on_each("i-bau", ("label-consistent", "sig"), gone=True)),
    ("5 %: EP stops LC and SIG (0.3, 1.6)", on_each("ep", ("label-consistent", "sig"), gone=True)),
    ("5 %: most models that NC does not repair it calls clean (6 of 8)", left_alone),
    ("10 %: NC before FT (DER 90.6, 81.1)", better("neural-cleanse", "fine-tune", TEN)),
    ("10 %: NC before FP (90.6, 71.8)", better("neural-cleanse", "fine-pruning", TEN)),
    ("10 %: i-BAU before FT (88.0, 81.1)", better("i-bau", "fine-tune", TEN)),
    ("10 %: NAD before FP (82.4, 71.8)", better("nad", "fine-pruning", TEN)),
    ("10 %: AC does not help (50.1)", useless("activation-clustering", TEN)),
    ("10 to 5 %: FT gets worse (ASR 34.8 to 56.6)", change("fine-tune", TEN, FIVE, 1)),
    ("10 to 5 %: FP gets worse (53.7 to 68.9)", change("fine-pruning", TEN, FIVE, 1)),
    ("10 to 5 %: NAD gets worse (32.0 to 55.2)", change("nad", TEN, FIVE, 1)),
    ("10 to 5 %: NC gets worse (15.3 to 71.2)", change("neural-cleanse", TEN, FIVE, 1)),
    ("10 to 5 %: i-BAU stays (17.8 to 14.8)", change("i-bau", TEN, FIVE, 0)),
    ("10 to 5 %: EP stays (30.6 to 30.1)", change("ep", TEN, FIVE, 0)),
    ("10 to 5 %: CLP gets better (65.9 to 46.7)", change("clp", TEN, FIVE, -1)),
    ("10 to 5 %: DBD gets better (64.5 to 43.1)", change("dbd", TEN, FIVE, -1)),
    ("5 to 1 %: NC gets better (71.2 to 44.4)", change("neural-cleanse", FIVE, ONE, -1)),
    ("5 to 1 %: EP gets worse (30.1 to 41.6)", change("ep", FIVE, ONE, 1)),
    ("1 %: i-BAU before FT (DER 77.0, 55.9)", better("i-bau", "fine-tune", ONE)),
)
"""A published ordering on CIFAR-10 with PreAct-ResNet18, one seed, with its numbers in percent; how it is tested."""


def orderings(lines: Sequence[Line]) -> str:
    """What the pairs say of every published ordering. `lines`: complete ones."""
    rows = [["verdict", "published", "here", "pairs"]]
    for claim, test in PUBLISHED:
        found = test(lines)
        rows.append([found.verdict, claim, found.here, str(found.pairs)])
    said = [row[0] for row in rows[1:]]
    total = ", ".join(f"{said.count(word)} {word}" for word in (HOLDS, NOT, OPEN, FEW))
    return f"{WORDS}\n{table(rows)}\n\nOf {len(said)} orderings: {total}.\n"


WORDS = f"""The board of BackdoorBench (CIFAR-10, PreAct-ResNet18, one seed) suggests these; numbers in brackets are its
own, in percent. Here: differences of the same attack and seed, their mean over attacks with its 95 % t interval over
attacks, on attacks of the board that have an ASR of at least .95 here. *Holds*: the interval lies on the published side
of 0 (of what stays or does not help: within .10). *Does not hold*: it lies on the other side. *Undecided*: neither.
Fewer than {LEAST} attacks are too few. Of LC and SIG the two numbers decide (still there: at least .80; stopped: below
.20). NC is Neural Cleanse, LC label-consistent. Of so many intervals about one in twenty misses the truth by chance.

LC and SIG count there from an ASR of .80 on. CLP, BNP and EP have one threshold on the board (u = 3); here BNP and EP
choose theirs by the reserve, CLP does not.

Not tested here: the order of ANP and RNP, which the released code chooses by test ASR; the boards of CIFAR-100, GTSRB
and Tiny-ImageNet; and of other networks (VGG19-BN; that CLP, EP and BNP do nothing on ConvNeXt; that nothing repairs
more than 3 of 8 attacks on ViT, and that NAD and i-BAU ruin its accuracy).
"""
