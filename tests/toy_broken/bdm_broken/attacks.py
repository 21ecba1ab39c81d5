"""Attacks that break one rule each."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

from bdm_toy import memory
from bdm_toy.attack import ToyAttack, ToyAttackParams

from bdm_core import Field, Params, Plugin, hookimpl


class NotInstalled(ToyAttack):
    name = "not-installed"


class OldInterface(ToyAttack):
    name = "old-interface"
    api = 0


class NoSummary(ToyAttack):
    name = "no-summary"
    summary = ""


class OtherBase(Plugin):
    kind = "attack"
    name = "other-base"
    summary = "Derives from no base of a kind"
    tasks = frozenset({"toy"})

    @hookimpl
    def inject_backdoor(self, ctx, model):
        return None


class HasDefault(ToyAttack):
    name = "has-default"

    @hookimpl
    def inject_backdoor(self, ctx, params, model, data, secret=None):
        return ToyAttack.inject_backdoor(self, ctx, params, model, data)


class AlsoDefends(ToyAttack):
    name = "also-defends"

    @hookimpl
    def repair(self, model):
        return model


class AsksForMore(ToyAttack):
    name = "asks-for-more"

    @hookimpl
    def inject_backdoor(self, ctx, params, model, data, password):
        return ToyAttack.inject_backdoor(self, ctx, params, model, data)


class Undescribed(ToyAttack):
    class Params(ToyAttackParams):
        extra: int = 1

    name = "undescribed"


class NoDefault(ToyAttack):
    class Params(ToyAttackParams):
        extra: int = Field(description="A number that the user must give.")

    name = "no-default"


class BadPreset(ToyAttack):
    name = "bad-preset"
    presets = {"all": {"poison_rate": 2.0}}


class OtherRate(ToyAttack):
    class Params(Params):
        portion: float = Field(0.25, ge=0, le=1, description="Share of rows, under another name.")

    name = "other-rate"
    presets = {}
    tiny_params = {}

    @hookimpl
    def poison_data(self, ctx, data):
        return ToyAttack.poison_data(self, ctx, ToyAttackParams(), data)

    @hookimpl
    def inject_backdoor(self, ctx, model, data):
        return ToyAttack.inject_backdoor(self, ctx, ToyAttackParams(steps=6), model, data)


class _Poisons(ToyAttack):
    """Calls ``prepare`` before the correct ``poison_data``."""

    @hookimpl
    def poison_data(self, ctx, params, data):
        ctx, params = self.prepare(ctx, params, data)
        return ToyAttack.poison_data(self, ctx, params, data)

    def prepare(self, ctx, params, data):
        return ctx, params


class Unrepeatable(_Poisons):
    name = "unrepeatable"

    def prepare(self, ctx, params, data):
        return replace(ctx, seed=random.SystemRandom().getrandbits(60)), params


class IgnoresSeed(_Poisons):
    name = "ignores-seed"

    def prepare(self, ctx, params, data):
        return replace(ctx, seed=0), params


class WritesBesideInput(_Poisons):
    name = "writes-beside-input"

    def prepare(self, ctx, params, data):
        (data.path.parent / "cache.json").write_text("{}")
        return ctx, params


class WritesToCurrentFolder(_Poisons):
    name = "writes-to-current-folder"

    def prepare(self, ctx, params, data):
        Path("debug.txt").write_text("here")
        return ctx, params


class ChangesInput(_Poisons):
    name = "changes-input"

    def prepare(self, ctx, params, data):
        rows = memory.read_rows(data)
        text = "".join(json.dumps(row, sort_keys=True, indent=None, separators=(" ,", " :")) + "\n" for row in rows)
        data.file("rows.jsonl").write_text(text)
        return ctx, params


class LooksAround(_Poisons):
    name = "looks-around"

    def prepare(self, ctx, params, data):
        list(ctx.out.parent.parent.iterdir())
        return ctx, params


class Pickles(_Poisons):
    name = "pickles"

    def prepare(self, ctx, params, data):
        (ctx.work / "state.pkl").write_bytes(b"\x80\x04N.")
        return ctx, params


class LeavesScratch(_Poisons):
    name = "leaves-scratch"

    def prepare(self, ctx, params, data):
        (ctx.out / "scratch.txt").write_text("unsealed")
        return ctx, params


class PoisonsLess(_Poisons):
    name = "poisons-less"

    def prepare(self, ctx, params, data):
        return ctx, params.model_copy(update={"poison_rate": params.poison_rate / 2})


class ForgetsRoles(ToyAttack):
    name = "forgets-roles"

    @hookimpl
    def poison_data(self, ctx, params, data):
        made = ToyAttack.poison_data(self, ctx, params, data)
        rows = memory.read_rows(made)
        for row in rows:
            if row["role"] == "clean":
                del row["role"]
        return memory.seal_data(made.path, rows, made.format)


class _Triggers(ToyAttack):
    """Changes the triggered rows."""

    @hookimpl
    def trigger_inputs(self, ctx, params, inputs, secret):
        trigger = memory.read_secret(secret)["trigger"]
        clean = memory.read_rows(inputs)
        rows = [{"key": memory.shifted(row["key"], trigger)} for row in clean]
        return memory.seal_data(ctx.out / "data", self.alter(rows, clean), inputs.format)


class TriggersItself(_Triggers):
    """Correct."""

    name = "triggers-itself"

    def alter(self, rows, clean):
        return rows


class SkipsOne(_Triggers):
    name = "skips-one"

    def alter(self, rows, clean):
        return [clean[0], *rows[1:]]


class DropsOne(_Triggers):
    name = "drops-one"

    def alter(self, rows, clean):
        return rows[1:]


class Reorders(_Triggers):
    name = "reorders"

    def alter(self, rows, clean):
        return [*rows[1:], rows[0]]
