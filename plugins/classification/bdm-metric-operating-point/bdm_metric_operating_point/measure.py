"""Prune the undefended model again, candidate by candidate, and see what each would have given.

The best point is that of the highest DER on test rows. Only some candidates and rows are looked at, and a defense may
tune after pruning: no strict bound.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_kit_classification.data.samples import TEST, LabelledSamples, open_samples
from bdm_kit_classification.defending.pruning import Sweep, kept_sweep, silence
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.training.fitting import accuracy, predict
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import apply_in_batches
from bdm_metric_operating_point.params import OperatingPointMetricParams

UPPER_BOUND = "best point by test DER, about an upper bound"


@dataclass(frozen=True)
class Point:
    """One candidate: its place in the sweep, -1 for the undefended model; ACC and ASR."""

    place: int
    acc: float
    asr: float

    def der(self, undefended: Point) -> float:
        """Defense effectiveness, as ``metric:accuracy`` has it."""
        return (max(0.0, undefended.asr - self.asr) - max(0.0, undefended.acc - self.acc) + 1) / 2


@dataclass(frozen=True)
class Rows:
    """What the points are measured on."""

    clean: LabelledSamples
    triggered: LabelledSamples
    rule: LabelRule

    def point(self, place: int, classifier: Classifier) -> Point:
        """ACC and ASR of a classifier."""
        said = predict(classifier, self.triggered).classes.tolist()
        hits = sum(map(self.rule.success, said, self.triggered.labels.tolist()))
        return Point(place, accuracy(classifier, self.clean), hits / len(said))


def measure(ctx: Context, params: OperatingPointMetricParams, subject: Subject) -> list[Measurement]:
    """ACC, ASR and DER of the best point; nothing for a row without a sweep."""
    stage = subject.stages.get("repaired model")
    kept = kept_sweep(stage.get("figures")) if isinstance(stage, Mapping) and subject.role == "repaired" else None
    rows = test_rows(ctx, params.samples, subject) if kept and subject.undefended else None
    if kept is None or rows is None or subject.undefended is None:
        return []
    sweep, chosen = kept
    classifier = load_classifier(subject.undefended, ctx.device)
    points = curve(classifier, sweep, places(len(sweep.steps), chosen, params.points), rows)
    best = best_of(points)
    report(ctx, sweep, points, best, chosen)
    values = {"accuracy": best.acc, "asr": best.asr, "der": best.der(points[0])}
    count = {"accuracy": len(rows.clean), "asr": len(rows.triggered), "der": len(rows.triggered)}
    return [
        Measurement(
            metric=f"best_{name}",
            value=value,
            on="model",
            higher_is_better=name != "asr",
            n=count[name],
            share=True,
            label=f"{'ACC' if name == 'accuracy' else name.upper()}, {UPPER_BOUND}",
            description=f"Of the {UPPER_BOUND}: no defender can choose it. In [0, 1], of pruning alone, of "
            "the candidates and test rows that were looked at.",
        )
        for name, value in values.items()
    ]


def test_rows(ctx: Context, most: int, subject: Subject) -> Rows | None:
    """Test rows at random, and those of them that are eligible, with the trigger; None without any."""
    if not subject.reference.meta.get(TEST):
        return None
    test, backdoor = open_samples(subject.reference, TEST), open_secret(subject.secret)
    order = list(range(len(test)))
    random.Random(ctx.seed).shuffle(order)
    clean = test.pick(order[:most])
    eligible = clean.pick([row for row, label in enumerate(clean.labels.tolist()) if backdoor.rule.eligible(label)])
    if not len(eligible):
        return None
    raw = apply_in_batches(backdoor.trigger, eligible.raw(), "test", ctx.seed)
    return Rows(clean, eligible.changed(range(len(eligible)), raw), backdoor.rule)


def places(count: int, chosen: int, most: int) -> list[int]:
    """Which candidates are looked at: the undefended model (-1), the first, the last, the chosen one, others between.

    >>> places(5, 2, 11), places(101, 33, 6)
    ([-1, 0, 1, 2, 3, 4], [-1, 19, 33, 40, 60, 80, 100])
    """
    steps = min(most, count + 1) - 1
    spread = {round(number * count / steps) - 1 for number in range(steps + 1)} if steps else {-1}
    return sorted(spread | {-1, chosen})


def curve(classifier: Classifier, sweep: Sweep, chosen: list[int], rows: Rows) -> list[Point]:
    """The points at some places, rising; the classifier is pruned in place."""
    points = []
    for place, step in enumerate([{}, *sweep.steps], start=-1):
        silence(classifier, step, sweep.keep_bias)
        if place in chosen:
            points.append(rows.point(place, classifier))
    return points


def best_of(points: list[Point]) -> Point:
    """The point of the highest DER, of several the one that prunes least.

    >>> best_of([Point(-1, 0.98, 1.0), Point(0, 0.97, 0.5), Point(1, 0.95, 0.0), Point(2, 0.1, 0.0)]).place
    1
    """
    return max(points, key=lambda point: (point.der(points[0]), -point.place))


def report(ctx: Context, sweep: Sweep, points: list[Point], best: Point, chosen: int) -> None:
    """Keep curves and a table."""

    def marks(place: int) -> str:
        names = {"chosen by the defense": chosen, UPPER_BOUND: best.place, "undefended": -1}
        return "; ".join(name for name, number in names.items() if number == place)

    table: list[list[Any]] = [
        [float(sweep.values[point.place]) if point.place >= 0 else None, point.acc, point.asr, marks(point.place)]
        for point in points
    ]
    ctx.figures(tables={"sweep of the pruning": {"head": [sweep.knob, "ACC", "ASR", ""], "rows": table}})
    ctx.curve(f"ACC by {sweep.knob}", [point.acc for point in points])
    ctx.curve(f"ASR by {sweep.knob}", [point.asr for point in points])
