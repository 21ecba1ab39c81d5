"""Metrics and observers that break one rule each."""

from __future__ import annotations

import json
import random

from bdm_toy.metric import ToyMetric
from bdm_toy.observer import ToyObserver

from bdm_core import hookimpl


class _Measures(ToyMetric):
    """Changes the first measurement."""

    @hookimpl
    def score(self, ctx, subject):
        first, *rest = ToyMetric.score(self, ctx, subject)
        return [first.model_copy(update=self.changes(subject)), *rest]


class NotFinite(_Measures):
    name = "not-finite"

    def changes(self, subject):
        return {"stderr": float("inf")}


class NoCount(_Measures):
    name = "no-count"

    def changes(self, subject):
        return {"n": None}


class SameName(_Measures):
    name = "same-name"

    def changes(self, subject):
        return {"metric": "asr", "value": 1.0}


class NoDirection(_Measures):
    name = "no-direction"

    def changes(self, subject):
        return {"higher_is_better": None}


class WrongValue(_Measures):
    name = "wrong-value"

    def changes(self, subject):
        return {"value": 0.5}


class NoDescription(_Measures):
    name = "no-description"

    def changes(self, subject):
        return {"description": ""}


class BeyondOne(_Measures):
    name = "beyond-one"

    def changes(self, subject):
        return {"share": True}


class RateIsNoShare(ToyMetric):
    name = "rate-is-no-share"

    @hookimpl
    def score(self, ctx, subject):
        return [item.model_copy(update={"share": False}) for item in ToyMetric.score(self, ctx, subject)]


class TwoHeadlines(_Measures):
    name = "two-headlines"

    def changes(self, subject):
        return {"measures": "attack-success", "share": True, "value": 0.5}


class DividesByCount(_Measures):
    name = "divides-by-count"

    def changes(self, subject):
        return {"value": 1 / subject.on_clean.meta["count"]}


class MeasuresAtRandom(_Measures):
    name = "measures-at-random"

    def changes(self, subject):
        return {"stderr": random.SystemRandom().random()}


class WritesIntoOutputs(_Measures):
    name = "writes-into-outputs"

    def changes(self, subject):
        (subject.on_clean.path / "cache.json").write_text(json.dumps([]))
        return {}


class NeedsDetection(ToyMetric):
    name = "needs-detection"

    @hookimpl
    def score(self, ctx, subject):
        assert subject.detection.scores
        return ToyMetric.score(self, ctx, subject)


class MeasuresNothing(ToyMetric):
    name = "measures-nothing"

    @hookimpl
    def score(self, ctx, subject):
        return []


class ExpectsOrder(ToyObserver):
    name = "expects-order"

    def __init__(self):
        self.running = set()

    @hookimpl
    def stage_started(self, stage, cached):
        self.running.add(stage)

    @hookimpl
    def stage_finished(self, stage):
        self.running.remove(stage)


class Divides(ToyObserver):
    name = "divides"

    @hookimpl
    def stage_progress(self, stage, label, done, total):
        print(f"{100 * done / total:.0f}%")


class WritesIntoStage(ToyObserver):
    name = "writes-into-stage"

    @hookimpl
    def stage_finished(self, ctx, stage):
        (ctx.out / "seen.txt").write_text(stage)
