"""Numbers of the detection page: rates at a threshold, and shares and areas with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bdm_torch.statistics import area_interval, exact_interval, too_small

FALSE_POSITIVES = 0.05
Pair = tuple[bool, float]
"""(backdoored, score)."""
Line = dict[str, Any]


def auroc(pairs: Sequence[Pair]) -> float:
    """Probability that a backdoored model scores higher than a clean one; ties count half."""
    bad = [score for flag, score in pairs if flag]
    good = [score for flag, score in pairs if not flag]
    wins = sum((one > other) + 0.5 * (one == other) for one in bad for other in good)
    return wins / (len(bad) * len(good)) if bad and good else float("nan")


def threshold(clean: Sequence[float], rate: float = FALSE_POSITIVES) -> float:
    """The least score that at most ``rate`` of the clean calibration models exceed."""
    ordered = sorted(clean)
    return ordered[max(0, len(ordered) - 1 - int(rate * len(ordered)))] if ordered else float("inf")


def rates(pairs: Sequence[Pair], limit: float) -> tuple[float, float, float]:
    """Accuracy, with both kinds of models of equal weight, TPR and FPR at a threshold."""
    bad = [score > limit for flag, score in pairs if flag]
    good = [score > limit for flag, score in pairs if not flag]
    hit = sum(bad) / len(bad) if bad else float("nan")
    false = sum(good) / len(good) if good else float("nan")
    return (hit + 1 - false) / 2, hit, false


def share(flags: Sequence[bool]) -> str:
    """How many of some are so, as a share with its exact interval."""
    if not flags:
        return "–"
    low, high = exact_interval(sum(flags), len(flags))
    return f"{sum(flags) / len(flags):.2f} ({low:.2f} to {high:.2f})"


def judged(pairs: Sequence[Pair], limit: float) -> tuple[str, str, str]:
    """Accuracy as the share of all models that are judged rightly, TPR and TNR, each with its exact interval."""
    return (
        share([flag == (score > limit) for flag, score in pairs]),
        share([score > limit for flag, score in pairs if flag]),
        share([score <= limit for flag, score in pairs if not flag]),
    )


def area(pairs: Sequence[Pair]) -> str:
    """The area under the ROC curve with an interval that is no point at 1."""
    bad = sum(flag for flag, _ in pairs)
    if not 0 < bad < len(pairs):
        return "–"
    low, high = area_interval(auroc(pairs), bad, len(pairs) - bad)
    return f"{auroc(pairs):.2f} ({low:.2f} to {high:.2f})"


def scored(lines: Sequence[Line], defense: str, *halves: str) -> list[tuple[Line, Pair]]:
    """Lines of one detector and some halves, by default both, with their score."""
    found = []
    for line in lines:
        detection = line.get("detection")
        mine = line["defense"] == defense and (not halves or line["half"] in halves)
        if mine and detection and detection["score"] is not None:
            found.append((line, (line["group"] != "clean", float(detection["score"]))))
    return found


def limit_of(lines: Sequence[Line], defense: str) -> float:
    """A detector's threshold: from the clean models of the calibration half alone."""
    return threshold([pair[1] for _, pair in scored(lines, defense, "calibration") if not pair[0]])


def p_value_table(found: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Whether the p-values that detectors give held-out clean models are smaller than uniform ones."""
    rows = [["detector", "clean models", "smallest p", "p of the test", "so that its p-values are"]]
    for detector, values in found.items():
        if values:
            chance = too_small(values)
            word = "not shown to be too small" if chance >= 0.05 else "too small: not to be read as error rates"
            rows.append([detector, str(len(values)), f"{min(values):.2g}", f"{chance:.2g}", word])
    return rows


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])
