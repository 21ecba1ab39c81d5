"""Does a defense keep working where data or labels are noisy? Runs of plans/practical-factors*.yaml, compared.

``bdm sweep benchmarks/plans/practical-factors.yaml --out runs``, then ``python benchmarks/practical_factors.py runs``
prints a table: each attack, defense and metric under noise against the same without, by the U test of Mann and Whitney
(Annals of Mathematical Statistics 18, 1947) over the seeds, corrected by Holm's method over the table. The effect size
is the rank-biserial correlation (Cliff's delta): 1 if every value under noise is the larger one, -1 if none is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from scipy.stats import mannwhitneyu

from bdm_results.paired import holm
from bdm_results.results import Results, Selection

DATA, LABELS = "kit:classification.data_noise", "kit:classification.label_noise"
ROWS = ("backdoored", "final")
METRICS = ("accuracy", "asr", "auroc")


@dataclass(frozen=True)
class Comparison:
    """One metric of one attack and defense under noise and without.

    Attributes:
        where: attack, defense, row, metric.
        noise: ``data``, ``label`` or ``data and label``, with the kinds.
        plain, noisy: the values, one a seed.
        statistic: U of the noisy values: of how many pairs the noisy one is the larger, ties by half.
        p_value: two-sided.
        effect: 2 U / (n m) - 1, in [-1, 1].
    """

    where: tuple[str, ...]
    noise: str
    plain: tuple[float, ...]
    noisy: tuple[float, ...]
    statistic: float
    p_value: float
    effect: float


def compared(where: tuple[str, ...], noise: str, plain: Sequence[float], noisy: Sequence[float]) -> Comparison:
    """The test of two samples; exact where there are no ties.

    >>> found = compared(("a",), "data", [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    >>> found.statistic, found.effect, round(found.p_value, 3)
    (9.0, 1.0, 0.1)
    """
    found = mannwhitneyu(noisy, plain, alternative="two-sided", method="auto")
    statistic = float(found.statistic)
    effect = 2 * statistic / (len(plain) * len(noisy)) - 1
    return Comparison(where, noise, tuple(plain), tuple(noisy), statistic, float(found.pvalue), effect)


def condition_of(line: Mapping[str, Any]) -> str:
    """What noise a run had, "" for none."""
    kinds = {name: line.get(name) for name in (DATA, LABELS)}
    said = [f"data ({kinds[DATA]})" if isinstance(kinds[DATA], str) and kinds[DATA] else ""]
    said.append(f"label ({kinds[LABELS]})" if isinstance(kinds[LABELS], str) and kinds[LABELS] != "none" else "")
    return " and ".join(part for part in said if part)


def comparisons(lines: Iterable[Mapping[str, Any]]) -> list[Comparison]:
    """All comparisons of a noise with none that have two seeds or more of both.

    Args:
        lines: numbers with ``attack``, ``defense``, ``poison_rate``, ``row``, ``metric``, ``value`` and the parameters
            of noise.
    """
    values: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for line in lines:
        where = tuple(str(line.get(name)) for name in ("attack", "poison_rate", "defense", "row", "metric"))
        values.setdefault(where, {}).setdefault(condition_of(line), []).append(float(line["value"]))
    return [
        compared(where, noise, by_noise[""], noisy)
        for where, by_noise in sorted(values.items())
        for noise, noisy in sorted(by_noise.items())
        if noise and len(noisy) > 1 and len(by_noise.get("", [])) > 1
    ]


def table(found: Sequence[Comparison]) -> str:
    """The comparisons as a table of Markdown."""
    corrected = holm([item.p_value for item in found])
    head = ("attack", "rate", "defense", "row", "metric", "noise", "without", "with", "U", "p", "p (Holm)", "effect")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for item, better in zip(found, corrected, strict=True):
        means = (f"{fmean(values):.3f} ({len(values)})" for values in (item.plain, item.noisy))
        numbers = (f"{item.statistic:g}", f"{item.p_value:.3f}", f"{better:.3f}", f"{item.effect:+.2f}")
        lines.append("| " + " | ".join((*item.where, item.noise, *means, *numbers)) + " |")
    return "\n".join(lines)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The numbers that are compared, of all complete runs in a folder."""
    results = Results(folder)
    known = {item.name.partition(".")[2] for item in results.metrics()}
    metrics = tuple(name for name in METRICS if name in known)
    lines: list[dict[str, Any]] = []
    for row in ROWS:
        frame = results.frame(Selection(metrics=metrics, rows=(row,))).dropna(subset=["value"])
        for line in frame.to_dict("records"):
            rate = line.get(f"attack:{line['attack']}.poison_rate")
            lines.append({**line, "row": row, "poison_rate": rate})
    return lines


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", type=Path)
    found = comparisons(lines_of(parser.parse_args().runs))
    print(table(found) if found else "no noise was run twice or more beside runs without noise")


if __name__ == "__main__":
    main()
