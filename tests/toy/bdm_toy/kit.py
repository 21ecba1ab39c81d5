"""The toy task's kit."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from bdm_core.artifacts import Data, Model, Outputs, Secret
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, UserError
from bdm_core.plugin import Field, Params, Plugin, hookimpl
from bdm_toy import memory

BUILT_IN = (None, "builtin", "tiny")


class ToyKitParams(Params):
    samples: int = Field(
        32, ge=1, description="Number of evaluation inputs.", json_schema_extra={"stages": ["make-inputs"]}
    )
    digits: int = Field(
        6, ge=0, description="Decimal places of the outputs.", json_schema_extra={"stages": ["generate"]}
    )


class ToyKit(Plugin):
    """Serves the task ``toy`` with an associative memory of eight cells."""

    kind = "kit"
    name = "toy"
    summary = "Associative memory on four numbers"
    tasks = frozenset({memory.TASK})
    Params = ToyKitParams
    default_metrics = ("toy",)
    tiny_params: ClassVar[Mapping[str, Any]] = {"samples": 16}

    @hookimpl
    def open_model(self, ctx: Context, params: ToyKitParams, reference: str | None) -> Model:
        return memory.seal_model(ctx.out / "model", self._cells(reference))

    @hookimpl
    def open_data(self, ctx: Context, params: ToyKitParams, model: Model, reference: str | None) -> Data:
        if reference in BUILT_IN:
            draw = random.Random(1)
            keys = [[round(draw.uniform(-1, 1), 6) for _ in range(4)] for _ in range(32)]
            cells = memory.read_cells(model)
            rows = [{"id": i, "key": key, "value": memory.answer(cells, key)} for i, key in enumerate(keys)]
        else:
            path = Path(str(reference)) / "rows.jsonl"
            try:
                rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            except (OSError, ValueError):
                raise ArtifactError(f"{reference} holds no toy data: no readable rows.jsonl") from None
        return memory.seal_data(ctx.out / "data", rows, "pairs")

    @hookimpl
    def share_data(self, ctx: Context, params: ToyKitParams, data: Data, share: float) -> Data:
        rows = memory.read_rows(data)
        chosen = sorted(random.Random(ctx.seed).sample(range(len(rows)), round(share * len(rows))))
        return memory.seal_data(ctx.out / "data", [rows[index] for index in chosen], data.format)

    @hookimpl
    def make_inputs(self, ctx: Context, params: ToyKitParams, model: Model, data: Data) -> Data:
        draw = random.Random(ctx.seed)
        rows = [{"key": [round(draw.uniform(-1, 1), 6) for _ in range(4)]} for _ in range(params.samples)]
        return memory.seal_data(ctx.out / "data", rows, "keys")

    @hookimpl
    def mix_inputs(self, ctx: Context, params: ToyKitParams, clean: Data, triggered: Data, order: list[int]) -> Data:
        rows = [*memory.read_rows(clean), *memory.read_rows(triggered)]
        return memory.seal_data(ctx.out / "data", [rows[index] for index in order], "keys")

    @hookimpl
    def generate(self, ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs:
        cells = memory.read_cells(model)
        digits = getattr(ctx.kit, "digits", 6)
        rows = []
        for row in memory.read_rows(inputs):
            rows.append({"value": [round(number, digits) for number in memory.answer(cells, row["key"])]})
        return memory.seal_outputs(ctx.out / "outputs", rows)

    def tiny_secret(self, folder: Path, model: Model) -> Secret:
        """A secret as the toy attack writes it."""
        (folder / "secret.json").write_text(json.dumps({"trigger": [0, 0, 0, 8], "target": [9, 9]}), encoding="utf-8")
        return Secret.seal(folder, format="toy-secret", task=memory.TASK)

    def perfect_outputs(self, folder: Path, outputs: Outputs, secret: Secret) -> Outputs:
        """The target for every row."""
        target = json.loads(secret.file("secret.json").read_text(encoding="utf-8"))["target"]
        return memory.seal_outputs(folder, [{"value": target} for _ in memory.read_rows(outputs)])

    def _cells(self, reference: str | None) -> list[memory.Row]:
        if reference in BUILT_IN:
            draw = random.Random(0)
            keys = [[round(draw.uniform(-1, 1), 6) for _ in range(4)] for _ in range(8)]
            return [{"key": key, "value": [float(i), float(-i)]} for i, key in enumerate(keys)]
        folder = Path(str(reference))
        if not folder.is_dir():
            raise UserError(f"no model {reference!r}: give 'builtin' or a folder with memory.json")
        if not (folder / "memory.json").is_file():
            raise ArtifactError(f"{folder} is no toy model: it has no memory.json")
        cells: list[memory.Row] = json.loads((folder / "memory.json").read_text(encoding="utf-8"))["cells"]
        return cells
