"""Does a defense keep working where data or labels are noisy? Runs of plans/practical-factors*.yaml, compared.

``bdm sweep benchmarks/plans/practical-factors.yaml --out runs``, and likewise ``practical-factors-images.yaml``, each
into a folder of its own; then this script with these folders writes the values to
``benchmarks/results/practical_factors.jsonl`` (those of other models stay), and from these the page
``docs/benchmarks/practical-factors.md``; without a folder only the page. Under noise against without, over the seeds,
by the exact U test of Mann and Whitney (Annals of Mathematical Statistics 18, 1947). The effect size is the
rank-biserial correlation (Cliff's delta): 1 if every value under noise is the larger one, -1 if none is.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from practical_factors_page import write_page
from scipy.stats import PermutationMethod, mannwhitneyu

from bdm_results.results import Results, Selection

LINES = Path(__file__).parent / "results" / "practical_factors.jsonl"
DATA, LABELS = "kit:classification.data_noise", "kit:classification.label_noise"
ROWS = ("backdoored", "final")
METRICS = ("accuracy", "asr", "auroc")
EXACT = 1_000_000
"""So many ways to draw the noisy values are all gone through; beyond, U counts as normal."""


@dataclass(frozen=True)
class Comparison:
    """One metric of one attack and defense under noise and without.

    Attributes:
        where: model, attack, poison rate, defense, row, metric.
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


def compared(where: tuple[str, ...], noise: str, plain: Iterable[float], noisy: Iterable[float]) -> Comparison:
    """The test of two samples; exact, by all permutations, so that ties are no matter.

    >>> found = compared(("a",), "data", [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    >>> found.statistic, found.effect, round(found.p_value, 3)
    (9.0, 1.0, 0.1)
    """
    first, second = tuple(plain), tuple(noisy)
    few = math.comb(len(first) + len(second), len(first)) <= EXACT
    method = PermutationMethod(n_resamples=EXACT) if few else "asymptotic"
    found = mannwhitneyu(second, first, alternative="two-sided", method=method)
    statistic = float(found.statistic)
    effect = 2 * statistic / (len(first) * len(second)) - 1
    return Comparison(where, noise, first, second, statistic, float(found.pvalue), effect)


def condition_of(line: Mapping[str, Any]) -> str:
    """What noise a run had, "" for none."""
    kinds = {name: line.get(name) for name in (DATA, LABELS)}
    said = [f"data ({kinds[DATA]})" if isinstance(kinds[DATA], str) and kinds[DATA] else ""]
    said.append(f"label ({kinds[LABELS]})" if isinstance(kinds[LABELS], str) and kinds[LABELS] != "none" else "")
    return " and ".join(part for part in said if part)


def samples_of(lines: Iterable[Mapping[str, Any]]) -> dict[tuple[str, ...], dict[str, list[float]]]:
    """The values of each attack, defense, row and metric by the noise. Accuracy and ASR of the backdoored model are
    the same for all defenses and stand once, for ``(none)``.

    Args:
        lines: numbers with ``model``, ``attack``, ``defense``, ``poison_rate``, ``row``, ``metric``, ``value``,
            ``seed`` and the parameters of noise.
    """
    values: dict[tuple[str, ...], dict[str, dict[int, float]]] = {}
    for line in lines:
        metric = str(line["metric"]).rpartition(".")[2]
        common = line["row"] == "backdoored" and metric != "auroc"
        names = {**line, "defense": "(none)" if common else line.get("defense"), "metric": metric}
        where = tuple(str(names.get(name)) for name in ("model", "attack", "poison_rate", "defense", "row", "metric"))
        seeds = values.setdefault(where, {}).setdefault(condition_of(line), {})
        seeds[int(line["seed"])] = float(line["value"])
    return {
        where: {noise: [seeds[seed] for seed in sorted(seeds)] for noise, seeds in sorted(by_noise.items())}
        for where, by_noise in sorted(values.items())
    }


def comparisons(samples: Mapping[tuple[str, ...], Mapping[str, list[float]]]) -> list[Comparison]:
    """All comparisons of a noise with none that have two seeds or more of both."""
    return [
        compared(where, noise, by_noise[""], noisy)
        for where, by_noise in sorted(samples.items())
        for noise, noisy in sorted(by_noise.items())
        if noise and len(noisy) > 1 and len(by_noise.get("", [])) > 1
    ]


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


def read() -> dict[tuple[str, ...], dict[str, list[float]]]:
    """The values that were measured."""
    known = [json.loads(line) for line in LINES.read_text(encoding="utf-8").splitlines()] if LINES.exists() else []
    return {tuple(line["where"]): line["values"] for line in known}


def main() -> None:
    """Take the values of folders of runs, if any are given, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", help="folders of sweeps")
    for folder in parser.parse_args().runs:
        found = samples_of(lines_of(folder))
        models = {where[0] for where in found}
        known = {where: values for where, values in read().items() if where[0] not in models} | found
        lines = [json.dumps({"where": where, "values": values}) + "\n" for where, values in sorted(known.items())]
        LINES.write_text("".join(lines), encoding="utf-8")
    print(f"written: {write_page(comparisons(read()))}")


if __name__ == "__main__":
    main()
