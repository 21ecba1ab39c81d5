"""Defenses that break one rule each."""

from __future__ import annotations

import json
import random

from bdm_toy import memory
from bdm_toy.defense import ToyDefense

from bdm_core import Defense, Detection, Model, UserError, hookimpl


class AsksForSecret(ToyDefense):
    name = "asks-for-secret"

    @hookimpl
    def detect(self, ctx, params, model, data, secret):
        return ToyDefense.detect(self, ctx, params, model, data)


class SearchesSecret(ToyDefense):
    name = "searches-secret"

    @hookimpl
    def detect(self, ctx, params, model, data):
        list(model.path.parents[2].rglob("secret.json"))
        return ToyDefense.detect(self, ctx, params, model, data)


class _Detects(ToyDefense):
    """Changes fields of the correct detection."""

    @hookimpl
    def detect(self, ctx, params, model, data, suspects):
        found = ToyDefense.detect(self, ctx, params, model, data)
        return found.model_copy(update=self.changes(suspects))


class OtherLevel(_Detects):
    name = "other-level"
    level = "input"

    def changes(self, suspects):
        return {}


class TwoScores(_Detects):
    name = "two-scores"

    def changes(self, suspects):
        return {"scores": [0.0, 1.0]}


class InfiniteThreshold(_Detects):
    name = "infinite-threshold"

    def changes(self, suspects):
        return {"threshold": float("inf")}


class WrongProbability(_Detects):
    name = "wrong-probability"

    def changes(self, suspects):
        return {"p_value": 1.5}


class UnexplainedDoubt(_Detects):
    name = "unexplained-doubt"

    def changes(self, suspects):
        return {"conclusive": False}


class CountsTooMany(_Detects):
    name = "counts-too-many"

    def changes(self, suspects):
        return {"clean_samples": 1000}


class LooksAtFirst(_Detects):
    name = "looks-at-first"

    def changes(self, suspects):
        return {"scores": [memory.read_rows(suspects)[0]["key"][0]]}


class ChangesSuspects(_Detects):
    name = "changes-suspects"

    def changes(self, suspects):
        rows = memory.read_rows(suspects)
        suspects.file("rows.jsonl").write_text("".join(json.dumps(row) + " \n" for row in rows))
        return {}


class _JudgesInputs(Defense):
    summary = "Judge inputs by their last coordinate"
    tasks = frozenset({"toy"})
    level = "input"

    @hookimpl
    def detect(self, suspects):
        scores = [self.judge(index, row["key"][-1]) for index, row in enumerate(memory.read_rows(suspects))]
        return Detection(level="input", scores=scores, threshold=1.0)


class JudgesInputs(_JudgesInputs):
    """Correct."""

    name = "judges-inputs"

    def judge(self, index, value):
        return value


class JudgesPlaces(_JudgesInputs):
    name = "judges-places"

    def judge(self, index, value):
        return float(index)


class _Repairs(ToyDefense):
    """Changes the cells after the correct repair."""

    @hookimpl
    def repair(self, ctx, params, model, data):
        cells = memory.read_cells(ToyDefense.repair(self, ctx, params, model, data))
        return memory.seal_model(ctx.out / "model", self.alter(cells))


class BreaksModel(_Repairs):
    name = "breaks-model"

    def alter(self, cells):
        return [{"key": [0.0] * 4, "value": [100.0, 100.0]}]


class RepairsAtRandom(_Repairs):
    name = "repairs-at-random"

    def alter(self, cells):
        far = [1000 + random.SystemRandom().random()] * 4
        return [*cells, {"key": far, "value": [0.0, 0.0]}]


class ChangesFormat(ToyDefense):
    name = "changes-format"

    @hookimpl
    def repair(self, ctx, params, model, data):
        made = ToyDefense.repair(self, ctx, params, model, data)
        return Model.seal(made.path, format="another", task="toy")


class NoHook(Defense):
    name = "no-hook"
    summary = "Nothing"
    tasks = frozenset({"toy"})


class _NeedsDetection(Defense):
    summary = "Only with a detection"
    tasks = frozenset({"toy"})

    @hookimpl
    def repair(self, model, detection):
        if detection is None:
            raise self.complaint
        return model


class RefusesClearly(_NeedsDetection):
    """Correct."""

    name = "refuses-clearly"
    complaint = UserError("refuses-clearly needs a detection: add --detect toy")


class RefusesUnclearly(_NeedsDetection):
    name = "refuses-unclearly"
    complaint = UserError("Traceback:\n something is None")
