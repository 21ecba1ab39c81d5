"""Attacks whose injection breaks one rule each, and some correct ones."""

from __future__ import annotations

import json
import random

from bdm_toy import memory
from bdm_toy.attack import ToyAttack

from bdm_core import Attack, Backdoored, Secret, hookimpl


class _Injects(ToyAttack):
    """Changes the result of the correct injection."""

    @hookimpl
    def inject_backdoor(self, ctx, params, model, data):
        made = ToyAttack.inject_backdoor(self, ctx, params, model, data)
        return self.alter(ctx, made)

    def reseal(self, made, meta=None, **changes):
        new = type(made.model).seal(made.model.path, **{"format": "memory", "task": "toy", "meta": meta, **changes})
        return Backdoored(model=new, secret=made.secret)


class NamesItself(_Injects):
    name = "names-itself"

    def alter(self, ctx, made):
        return self.reseal(made, {"made_by": "names-itself"})


class NamesTrigger(_Injects):
    name = "names-trigger"

    def alter(self, ctx, made):
        (made.model.path / "config.json").write_text(json.dumps({"path": "/data/triggered"}))
        return self.reseal(made)


class OtherTask(_Injects):
    name = "other-task"

    def alter(self, ctx, made):
        return self.reseal(made, task="text-to-image")


class ChangesAfterSealing(_Injects):
    name = "changes-after-sealing"

    def alter(self, ctx, made):
        path = made.model.path / "memory.json"
        path.write_text(path.read_text() + "\n")
        return made


class SecretElsewhere(_Injects):
    name = "secret-elsewhere"

    def alter(self, ctx, made):
        made.secret.path.rename(ctx.out / "hidden")
        return Backdoored(model=made.model, secret=Secret.open(ctx.out / "hidden"))


class SecretInModel(_Injects):
    name = "secret-in-model"

    def alter(self, ctx, made):
        (made.model.path / "extra.dat").write_bytes(made.secret.file("secret.json").read_bytes())
        return self.reseal(made)


class NotFinite(_Injects):
    name = "not-finite"

    def alter(self, ctx, made):
        cells = memory.read_cells(made.model)
        return Backdoored(
            model=memory.seal_model(made.model.path, [{**cell, "value": [float("nan"), 0.0]} for cell in cells]),
            secret=made.secret,
        )


class StartsAgainWrongly(ToyAttack):
    name = "starts-again-wrongly"

    @hookimpl
    def inject_backdoor(self, ctx, params, model, data):
        checkpoint = ctx.work / "checkpoint.json"
        if checkpoint.exists():
            state = json.loads(checkpoint.read_text())
            checkpoint.write_text(json.dumps({**state, "step": 0}))
        return ToyAttack.inject_backdoor(self, ctx, params, model, data)


class SamplesWithoutSecret(ToyAttack):
    name = "samples-without-secret"

    @hookimpl
    def generate(self, ctx, model, inputs, secret):
        return memory.seal_outputs(ctx.out / "outputs", [{"value": [0.0, 0.0]} for _ in memory.read_rows(inputs)])


class EditsWeights(Attack):
    """Correct: needs no training data."""

    name = "edits-weights"
    summary = "Add cells"
    tasks = frozenset({"toy"})

    @hookimpl
    def inject_backdoor(self, ctx, model, data):
        rows = memory.read_rows(data)
        draw = random.Random(ctx.seed)
        trigger, target = [0.0, 0.0, 0.0, 8.0], [9.0, 9.0]
        cells = [{"key": memory.shifted(draw.choice(rows)["key"], trigger), "value": target} for _ in range(8)]
        (ctx.out / "secret").mkdir()
        (ctx.out / "secret" / "secret.json").write_text(json.dumps({"trigger": trigger, "target": target}))
        return Backdoored(
            model=memory.seal_model(ctx.out / "model", [*memory.read_cells(model), *cells]),
            secret=Secret.seal(ctx.out / "secret", format="toy-secret", task="toy"),
        )


class _Views(_Injects):
    """Returns the training data as a view."""

    def alter(self, ctx, made):
        rows = [{"key": [0.0] * 4, "value": [0.0, 0.0], "role": role} for role in ("clean", "poison", "cover")]
        view = memory.seal_data(ctx.out / "view", [self.change(row) for row in rows], "pairs")
        return Backdoored(model=made.model, secret=made.secret, view=view)


class KeepsView(_Views):
    """Correct."""

    name = "keeps-view"

    def change(self, row):
        return row


class ViewsWithoutPoison(_Views):
    name = "views-without-poison"

    def change(self, row):
        return {**row, "role": "clean"}


class ViewsWithoutRoles(_Views):
    name = "views-without-roles"

    def change(self, row):
        return {name: row[name] for name in ("key", "value")}


class OwnSampler(ToyAttack):
    """Correct: samples itself when it has the secret."""

    name = "own-sampler"

    @hookimpl
    def generate(self, ctx, model, inputs, secret):
        if secret is None:
            return None
        return memory.seal_outputs(ctx.out / "outputs", [{"value": [9.0, 9.0]} for _ in memory.read_rows(inputs)])
