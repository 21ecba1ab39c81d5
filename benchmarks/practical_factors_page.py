"""The page of noise as a factor, ``docs/benchmarks/practical-factors.md``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Protocol

from swept import PLANS as PLAN_FILES
from swept import bullet

from bdm_results.paired import holm
from bdm_sweep import read_plan

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks" / "practical-factors.md"
STOPPED = 0.15
"""The ASR up to which a defense stops an attack, as on the page of modalities."""
LEVEL = 0.05
UNSHOWN = "above the line under noise, difference not shown"
UNSHOWN_BELOW = "below the line under noise, difference not shown"
"""Of a mean that crosses the line where the test finds no difference."""
ANSWERS = (
    *("keeps working", "stops working", UNSHOWN),
    *("works under noise only", UNSHOWN_BELOW, "does not work in either"),
)
PLANS = {
    "digits-cnn": "practical-factors-images",
    "sentiment-cnn": "practical-factors",
}
INTRODUCTION = """# Practical factors: do defenses keep working where data or labels are noisy?

BadNets with noise on 25 % of the training rows (pictures: Gaussian, deviation .1; texts: a tenth of the characters) or
25 % wrong labels (uniform), drawn before the poison. The reserve (clean rows that are never poisoned nor
trained on, from which the defender gets its share) and the test part are clean. Seven defenses on
pictures and on texts (`anp` on pictures alone, `onion` on texts alone), each with its defaults.

```
bdm sweep benchmarks/plans/practical-factors.yaml --out runs/texts
bdm sweep benchmarks/plans/practical-factors-images.yaml --out runs/digits
python benchmarks/practical_factors.py runs/texts runs/digits
```

The question is put to one number of each defense: the ASR behind it (repaired model, or inputs that pass). It *works*
where the mean is at most {stopped}. U is the statistic of Mann and Whitney of the values under noise, p exact over all
permutations, two-sided, and corrected by Holm's method over all lines of the table; effect is +1 where every value
under noise is the larger one, -1 where none is. Seven seeds against seven give .0006 at best."""


class Compared(Protocol):
    """A comparison, see ``practical_factors.Comparison``."""

    where: tuple[str, ...]
    noise: str
    plain: tuple[float, ...]
    noisy: tuple[float, ...]
    statistic: float
    p_value: float
    effect: float


def answer(found: Compared, corrected: float) -> str:
    """In words, whether the defense keeps working.

    Args:
        found: of ASR behind a defense.
        corrected: its p-value by Holm's method.
    """
    before, after = fmean(found.plain) <= STOPPED, fmean(found.noisy) <= STOPPED
    words = {
        (True, True): "keeps working",
        (True, False): "stops working",
        (False, True): "works under noise only",
        (False, False): "does not work in either",
    }[before, after]
    if before != after and corrected >= LEVEL:
        return UNSHOWN if before else UNSHOWN_BELOW
    changed = "" if corrected >= LEVEL else (", higher under noise" if found.effect > 0 else ", lower under noise")
    return words + changed


def main_question(found: Compared) -> bool:
    """Whether it is the ASR behind a defense."""
    *_, defense, row, metric = found.where
    return row == "final" and metric == "asr" and defense != "(none)"


def rows_of(found: Sequence[Compared], *, answered: bool) -> list[str]:
    """A table of Markdown."""
    corrected = holm([item.p_value for item in found])
    head = ["data", "poison", "defense", *(() if answered else ("row", "metric")), "noise", "without", "with"]
    head += ["U", "p", "p (Holm)", "effect", *(("answer",) if answered else ())]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for item, p_value in zip(found, corrected, strict=True):
        model, _, rate, defense, row, metric = item.where
        means = [f"{fmean(values):.3f} ({len(values)})" for values in (item.plain, item.noisy)]
        numbers = [f"{item.statistic:g}", f"{item.p_value:.4f}", f"{p_value:.3f}", f"{item.effect:+.2f}"]
        cells = [model, f"{float(rate):.0%}" if rate not in ("None", "nan") else "5%", defense]
        cells += [] if answered else [row, metric]
        cells += [item.noise, *means, *numbers, *([answer(item, p_value)] if answered else [])]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def in_words(found: Sequence[Compared]) -> list[str]:
    """The answer: which defenses keep working on which data, by kind of noise."""
    corrected = holm([item.p_value for item in found])
    lines = []
    for kind, said in (("data", "noisy data"), ("label", "wrong labels")):
        for words in ANSWERS:
            cases = [
                f"`{item.where[3]}` ({item.where[0]}, {float(item.where[2]):.0%}: {fmean(item.plain):.2f} to "
                f"{fmean(item.noisy):.2f}, U {item.statistic:g}, p {p_value:.3f})"
                for item, p_value in zip(found, corrected, strict=True)
                if item.noise.startswith(kind) and answer(item, p_value).startswith(words)
            ]
            if cases and words != "does not work in either":
                lines.append(bullet(f"**Under {said}, {words}:** {', '.join(cases)}."))
            elif cases:
                lines.append(bullet(f"**Under {said}, {words}:** {len(cases)} of the cases below."))
        moved = [
            (item, p_value)
            for item, p_value in zip(found, corrected, strict=True)
            if p_value < LEVEL and item.noise.startswith(kind)
        ]
        higher = sum(item.effect > 0 for item, _ in moved)
        lines.append(
            bullet(
                f"Under {said} the ASR behind a defense differs significantly in {len(moved)} cases: higher in "
                f"{higher}, lower in {len(moved) - higher}."
            )
        )
    return lines


def unmeasured(asked: Sequence[Compared]) -> dict[str, list[str]]:
    """Defenses of each plan without a comparison."""
    left = {}
    for model, plan in PLANS.items():
        measured = {item.where[3] for item in asked if item.where[0] == model}
        names = [str(item.name) for item in read_plan(PLAN_FILES / f"{plan}.yaml").defenses]
        if missing := [f"`{name}`" for name in names if name not in measured]:
            left[plan] = missing
    return left


def write_page(found: Sequence[Compared], page: Path = PAGE) -> Path:
    """Write the page.

    Args:
        found: all comparisons.
        page: the file.
    """
    asked = [item for item in found if main_question(item)]
    rest = [item for item in found if not main_question(item)]
    missing = [f"`plans/{plan}.yaml`: {', '.join(left)}" for plan, left in unmeasured(asked).items()]
    parts = [INTRODUCTION.format(stopped=STOPPED)]
    if asked:
        parts += ["## The answer", "\n".join(in_words(asked)), "\n".join(rows_of(asked, answered=True))]
    if rest:
        note = (
            "Accuracy behind the defenses, AUROC of the detectors, and the backdoored model itself, `(none)`. Holm's\n"
            "correction is over this table."
        )
        parts += ["## The other numbers", note, "\n".join(rows_of(rest, answered=False))]
    if missing:
        parts.append("## Not measured\n\n" + "\n".join(bullet(item) for item in missing))
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return page
