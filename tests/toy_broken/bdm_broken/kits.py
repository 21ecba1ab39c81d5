"""Kits that break one rule each."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

from bdm_toy import memory
from bdm_toy.kit import ToyKit

from bdm_core import Arrays, BuiltIn, Data, hookimpl


class NoTask(ToyKit):
    name = "no-task"


class NoCount(ToyKit):
    name = "no-count"

    @hookimpl
    def select_rows(self, ctx, params, sources, rows, blind):
        made = ToyKit.select_rows(self, ctx, params, sources, rows, blind)
        return Data.seal(made.path, format=made.format, task=made.task)


class IgnoresSeed(ToyKit):
    name = "ignores-seed"

    @hookimpl
    def make_inputs(self, ctx, params, model, data):
        return ToyKit.make_inputs(self, replace(ctx, seed=0), params, model, data)


class Unrepeatable(ToyKit):
    name = "unrepeatable"

    @hookimpl
    def make_inputs(self, ctx, params, model, data):
        return ToyKit.make_inputs(self, replace(ctx, seed=random.SystemRandom().getrandbits(60)), params, model, data)


class _Selects(ToyKit):
    """Changes what the correct selection gets."""

    @hookimpl
    def select_rows(self, ctx, params, sources, rows, blind):
        rows, blind = self.alter(rows, blind)
        return ToyKit.select_rows(self, ctx, params, sources, rows, blind)


class KeepsOrder(_Selects):
    name = "keeps-order"

    def alter(self, rows, blind):
        return sorted(rows), blind


class DropsRepeats(_Selects):
    name = "drops-repeats"

    def alter(self, rows, blind):
        return list(dict.fromkeys(rows)), blind


class LeaksRoles(_Selects):
    name = "leaks-roles"

    def alter(self, rows, blind):
        return rows, False


class DropsRoles(_Selects):
    name = "drops-roles"

    def alter(self, rows, blind):
        return rows, True


class WritesLabels(ToyKit):
    name = "writes-labels"

    @hookimpl
    def select_rows(self, ctx, params, sources, rows, blind):
        made = ToyKit.select_rows(self, ctx, params, sources, rows, blind)
        marked = [
            {**row, "t": index >= sources[0].meta["count"]}
            for row, index in zip(memory.read_rows(made), rows, strict=True)
        ]
        return memory.seal_data(made.path, marked, made.format)


class InventsOutput(ToyKit):
    name = "invents-output"

    @hookimpl
    def generate(self, ctx, model, inputs, secret):
        made = ToyKit.generate(self, ctx, model, inputs, secret)
        return memory.seal_outputs(made.path, memory.read_rows(made) or [{"value": [0.0, 0.0]}])


class ListsTwice(ToyKit):
    name = "lists-twice"

    def data_sets(self):
        return ToyKit.data_sets(self) * 2


class NamesForeignData(ToyKit):
    name = "names-foreign-data"

    def models(self):
        return [item.model_copy(update={"data": "nowhere"}) for item in ToyKit.models(self)]


class AnswersForDefenses(ToyKit):
    name = "answers-for-defenses"

    @hookimpl
    def detect(self, ctx, model):
        return None


class ListsForeignTask(ToyKit):
    name = "lists-foreign-task"

    def models(self):
        return [BuiltIn(name="builtin", task="text-to-image", summary="Of another task", size="8 cells")]


class KnowsNoModel(ToyKit):
    name = "knows-no-model"

    def task_of(self, folder):
        return None


class KnowsEveryFolder(ToyKit):
    name = "knows-every-folder"

    def task_of(self, folder):
        return "toy"


class ShowsNothing(ToyKit):
    name = "shows-nothing"

    @hookimpl
    def illustrate(self, artifact):
        return []


class ShowsOtherShape(ToyKit):
    name = "shows-other-shape"

    @hookimpl
    def illustrate(self, artifact):
        return [Arrays(values={"trigger": [0.0, 1.0]}, shape=(1, 2, 2))]


class ShowsHeavily(ToyKit):
    name = "shows-heavily"

    @hookimpl
    def illustrate(self, ctx, artifact):
        import sklearn  # noqa: F401 - the rule it breaks; the test puts an empty module of this name on the path

        return ToyKit.illustrate(self, ctx, artifact)


class ForgetsCell(ToyKit):
    name = "forgets-cell"

    @hookimpl
    def open_model(self, ctx, params, reference):
        cells = self._cells(reference)
        return memory.seal_model(ctx.out / "model", cells if reference == "tiny" else cells[:2])


class RoundsData(ToyKit):
    name = "rounds-data"

    @hookimpl
    def open_data(self, ctx, params, model, reference):
        made = ToyKit.open_data(self, ctx, params, model, reference)
        rows = memory.read_rows(made)
        if reference != "tiny":
            rows = [{**row, "key": [round(number, 1) for number in row["key"]]} for row in rows]
        return memory.seal_data(made.path, rows, made.format)


class NormalisesBatch(ToyKit):
    name = "normalises-batch"

    @hookimpl
    def generate(self, ctx, model, inputs, secret):
        rows = memory.read_rows(ToyKit.generate(self, ctx, model, inputs, secret))
        mean = sum(row["value"][0] for row in rows) / max(1, len(rows))
        return memory.seal_outputs(ctx.out / "outputs", [{"value": [row["value"][0] - mean, 0]} for row in rows])


class OneOutputShort(ToyKit):
    name = "one-output-short"

    @hookimpl
    def generate(self, ctx, model, inputs, secret):
        made = ToyKit.generate(self, ctx, model, inputs, secret)
        rows = memory.read_rows(made)
        return memory.seal_outputs(made.path, rows[:-1] or rows)


class TakesPickles(ToyKit):
    name = "takes-pickles"

    def _cells(self, reference):
        folder = Path(str(reference))
        return ToyKit._cells(self, "tiny" if list(folder.glob("*.bin")) else reference)


class TakesAnyFolder(ToyKit):
    name = "takes-any-folder"

    def _cells(self, reference):
        folder = Path(str(reference))
        return ToyKit._cells(self, "tiny" if (folder / "notes.txt").exists() else reference)


class FailsOnBadData(ToyKit):
    name = "fails-on-bad-data"

    @hookimpl
    def open_data(self, ctx, params, model, reference):
        if reference not in (None, "tiny"):
            json.loads((Path(reference) / "rows.jsonl").read_text().splitlines()[0])
        return ToyKit.open_data(self, ctx, params, model, reference)


class TakesAnyName(ToyKit):
    name = "takes-any-name"

    def _cells(self, reference):
        known = reference is None or "/" in reference
        return ToyKit._cells(self, reference if known else "tiny")


class NotPerfect(ToyKit):
    name = "not-perfect"

    def perfect_outputs(self, folder, outputs, secret):
        return memory.seal_outputs(folder, memory.read_rows(outputs))
