"""Defenses that break one rule each of what a defense is granted, and of purification and evidence."""

from __future__ import annotations

from bdm_toy import memory
from bdm_toy.defense import ToyDefense
from bdm_toy.filter import ToyFilter
from bdm_toy.rows import ToyRows

from bdm_core import Curves, Detection, Pictures, Purified, hookimpl


class AsksWithoutAccess(ToyDefense):
    """Asks for clean data and copes without it."""

    name = "asks-without-access"
    access = frozenset({"weights"})

    @hookimpl
    def detect(self, model, data):
        return Detection(level="model", scores=[0.0 if data is None else 1.0], threshold=0.5)

    @hookimpl
    def repair(self, model):
        return model


class TouchesUndeclared(ToyDefense):
    name = "touches-undeclared"

    @hookimpl
    def repair(self, ctx, params, model, data, training_data):
        assert memory.read_rows(training_data)
        return ToyDefense.repair(self, ctx, params, model, data)


class QueriesWithoutAccess(ToyDefense):
    name = "queries-without-access"

    @hookimpl
    def detect(self, ctx, params, model, data, suspects):
        ctx.query(suspects)
        return ToyDefense.detect(self, ctx, params, model, data)


class UnknownAccess(ToyDefense):
    name = "unknown-access"
    access = frozenset({"weights", "clean-data", "everything"})


class RowsWithoutAccess(ToyRows):
    name = "rows-without-access"
    access = frozenset({"weights"})

    @hookimpl
    def repair(self, model):
        return model


class _Purifies(ToyFilter):
    """Changes the rows and the flags of the correct purification."""

    @hookimpl
    def purify_inputs(self, ctx, params, data, inputs):
        made = ToyFilter.purify_inputs(self, ctx, params, data, inputs)
        rows, rejected = self.alter(memory.read_rows(made.inputs), made.rejected)
        return Purified(inputs=memory.seal_data(made.inputs.path, rows, inputs.format), rejected=rejected)


class PurifiesFewer(_Purifies):
    name = "purifies-fewer"

    def alter(self, rows, rejected):
        return rows[1:], rejected


class PurifiesReordered(_Purifies):
    name = "purifies-reordered"

    def alter(self, rows, rejected):
        return rows[::-1], rejected


class FlagsTooFew(_Purifies):
    name = "flags-too-few"

    def alter(self, rows, rejected):
        return rows, rejected[1:]


class RejectsAll(_Purifies):
    name = "rejects-all"

    def alter(self, rows, rejected):
        return rows, [True] * len(rows)


class ShowsEvidence(ToyDefense):
    """Correct."""

    name = "shows-evidence"

    @hookimpl
    def illustrate(self, artifact):
        return [Curves(curves={"cells": [0.0, 1.0]})]


class ShowsForeignFile(ToyDefense):
    name = "shows-foreign-file"

    @hookimpl
    def illustrate(self, ctx, artifact):
        picture = ctx.work / "picture.png"
        picture.write_bytes(b"")
        return [Pictures(files=[picture])]
