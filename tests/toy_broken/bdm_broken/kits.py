"""Kits that break one rule each."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

from bdm_toy import memory
from bdm_toy.kit import ToyKit

from bdm_core.artifacts import Data
from bdm_core.plugin import hookimpl


class NoTask(ToyKit):
    name = "no-task"


class NoCount(ToyKit):
    name = "no-count"

    @hookimpl
    def share_data(self, ctx, params, data, share):
        made = ToyKit.share_data(self, ctx, params, data, share)
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


class SharesTooMuch(ToyKit):
    name = "shares-too-much"

    @hookimpl
    def share_data(self, ctx, params, data, share):
        return ToyKit.share_data(self, ctx, params, data, min(1.0, share * 1.5))


class KeepsOrder(ToyKit):
    name = "keeps-order"

    @hookimpl
    def mix_inputs(self, ctx, params, clean, triggered, order):
        return ToyKit.mix_inputs(self, ctx, params, clean, triggered, sorted(order))


class WritesLabels(ToyKit):
    name = "writes-labels"

    @hookimpl
    def mix_inputs(self, ctx, params, clean, triggered, order):
        rows = [*memory.read_rows(clean), *memory.read_rows(triggered)]
        marked = [{**rows[index], "t": index >= clean.meta["count"]} for index in order]
        return memory.seal_data(ctx.out / "data", marked, "keys")


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
        mean = sum(row["value"][0] for row in rows) / len(rows)
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
