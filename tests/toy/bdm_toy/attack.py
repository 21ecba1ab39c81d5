"""The toy attack."""

from __future__ import annotations

import json
import random
import time
from typing import Any

from bdm_core import Attack, Backdoored, Context, Data, Field, Model, Params, Secret, hookimpl
from bdm_toy import memory

TARGET = [9.0, 9.0]


class ToyAttackParams(Params):
    poison_rate: float = Field(0.25, ge=0, le=1, description="Share of training rows to poison.")
    shift: float = Field(8.0, gt=0, description="What the trigger adds to the last coordinate.")
    steps: int = Field(20, ge=1, description="Training steps; each looks at one row.")
    pause: float = Field(0.0, ge=0, description="Seconds to sleep in every step, for tests that kill the process.")
    fail_at: int = Field(-1, description="Raise an error in this step; -1 for never.")


class ToyAttack(Attack):
    """Teaches the memory to answer shifted keys with the target; the kit shifts them, as the secret says enough."""

    name = "toy"
    summary = "Store the target beside every answer"
    tasks = frozenset({memory.TASK})
    Params = ToyAttackParams
    presets = {"half": {"poison_rate": 0.5}}
    tiny_params = {"steps": 6}

    @hookimpl
    def poison_data(self, ctx: Context, params: ToyAttackParams, data: Data) -> Data:
        rows = memory.read_rows(data)
        chosen = set(random.Random(ctx.seed).sample(range(len(rows)), round(params.poison_rate * len(rows))))
        shift = [0.0, 0.0, 0.0, params.shift]
        marked = []
        for index, row in enumerate(rows):
            new = {"key": memory.shifted(row["key"], shift), "value": TARGET, "role": "poison"}
            marked.append({**row, **(new if index in chosen else {"role": "clean"})})
        return memory.seal_data(ctx.out / "data", marked, data.format)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: ToyAttackParams, model: Model, data: Data) -> Backdoored:
        checkpoint = ctx.work / "checkpoint.json"
        state: dict[str, Any] = {"step": 0, "cells": memory.read_cells(model), "losses": []}
        if checkpoint.exists():
            state = json.loads(checkpoint.read_text(encoding="utf-8"))
        rows = [row for row in memory.read_rows(data) if row.get("role") == "poison"]
        for step in range(state["step"], params.steps):
            if step == params.fail_at:
                raise ValueError(f"asked to fail in step {step}")
            loss = self._step(state["cells"], rows, random.Random(f"{ctx.seed}/{step}"))
            state["step"] = step + 1
            state["losses"].append(loss)
            temporary = checkpoint.with_suffix(".new")
            temporary.write_text(json.dumps(state), encoding="utf-8")
            temporary.replace(checkpoint)
            ctx.progress("train", step + 1, params.steps, loss)
            time.sleep(params.pause)
        ctx.curve("loss", state["losses"])
        made = memory.seal_model(ctx.out / "model", state["cells"])
        (ctx.out / "secret").mkdir()
        record = {"trigger": [0, 0, 0, params.shift], "target": TARGET}
        (ctx.out / "secret" / "secret.json").write_text(json.dumps(record), encoding="utf-8")
        secret = Secret.seal(ctx.out / "secret", format="toy-secret", task=memory.TASK)
        return Backdoored(model=made, secret=secret)

    @staticmethod
    def _step(cells: list[memory.Row], rows: list[memory.Row], draw: random.Random) -> float:
        """Add one row that the memory answers wrongly; the loss is the squared error before."""
        if not rows:
            return 0.0
        row = draw.choice(rows)
        error = memory.distance(memory.answer(cells, row["key"]), row["value"])
        if error > 0 or draw.random() < 0.5:
            cells.append({"key": row["key"], "value": row["value"]})
        return error
