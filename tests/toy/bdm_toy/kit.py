"""The toy task's kit."""

from __future__ import annotations

import json
import random
from pathlib import Path

from bdm_core import (
    Artifact,
    ArtifactError,
    BuiltIn,
    Context,
    Data,
    Field,
    Figure,
    Kit,
    Model,
    Outputs,
    Params,
    Secret,
    Span,
    Texts,
    UserError,
    hookimpl,
)
from bdm_toy import memory

BUILT_IN = (None, "builtin", "tiny")
VISIBLE = ("key", "value")
SHOWN = 8


class ToyKitParams(Params):
    samples: int = Field(32, ge=1, description="Number of evaluation inputs.", stages=["make-inputs"])
    digits: int = Field(6, ge=0, description="Decimal places of the outputs.", stages=["generate"])


class ToyKit(Kit):
    """Serves the task ``toy`` with an associative memory of eight cells."""

    name = "toy"
    summary = "Associative memory on four numbers"
    tasks = frozenset({memory.TASK})
    Params = ToyKitParams
    default_metrics = ("toy",)
    tiny_params = {"samples": 16}

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
    def make_inputs(self, ctx: Context, params: ToyKitParams, model: Model, data: Data) -> Data:
        draw = random.Random(ctx.seed)
        rows = [{"key": [round(draw.uniform(-1, 1), 6) for _ in range(4)]} for _ in range(params.samples)]
        return memory.seal_data(ctx.out / "data", rows, "keys")

    @hookimpl
    def select_rows(
        self, ctx: Context, params: ToyKitParams, sources: list[Data], rows: list[int], blind: bool
    ) -> Data:
        every = [row for source in sources for row in memory.read_rows(source)]
        chosen = [every[index] for index in rows]
        if blind:
            chosen = [{name: row[name] for name in VISIBLE if name in row} for row in chosen]
        return memory.seal_data(ctx.out / "data", chosen, sources[0].format)

    @hookimpl
    def trigger_inputs(self, ctx: Context, inputs: Data, secret: Secret) -> Data:
        trigger = memory.read_secret(secret)["trigger"]
        rows = [{**row, "key": memory.shifted(row["key"], trigger)} for row in memory.read_rows(inputs)]
        return memory.seal_data(ctx.out / "data", rows, inputs.format)

    @hookimpl
    def generate(self, ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs:
        cells = memory.read_cells(model)
        digits = getattr(ctx.kit, "digits", 6)
        rows = []
        for row in memory.read_rows(inputs):
            rows.append({"value": [round(number, digits) for number in memory.answer(cells, row["key"])]})
        return memory.seal_outputs(ctx.out / "outputs", rows)

    @hookimpl
    def illustrate(self, ctx: Context, artifact: Artifact) -> list[Figure] | None:
        if isinstance(artifact, Secret):
            found = memory.read_secret(artifact)
            spans = [Span(text=str(found["trigger"]), mark="trigger"), Span(text=str(found["target"]), mark="target")]
            return [Texts(title="Trigger and target", rows=[spans])]
        if isinstance(artifact, Data | Outputs):
            rows = [{name: row[name] for name in VISIBLE if name in row} for row in memory.read_rows(artifact)]
            return [Texts(rows=[[Span(text=json.dumps(row))] for row in rows[:SHOWN]])] if rows else []
        return None

    def models(self) -> list[BuiltIn]:
        """The memory of eight cells."""
        facts = {"summary": "A clean memory", "size": "8 cells", "quality": "exact"}
        return [BuiltIn(name="builtin", task=memory.TASK, data="builtin", **facts)]

    def data_sets(self) -> list[BuiltIn]:
        """The keys and the answers of the built-in memory."""
        return [BuiltIn(name="builtin", task=memory.TASK, summary="Keys and their answers", size="32 rows")]

    def task_of(self, folder: Path) -> str | None:
        """The toy task for a folder with ``memory.json``."""
        return memory.TASK if (folder / "memory.json").is_file() else None

    def tiny_secret(self, folder: Path, model: Model) -> Secret:
        """A secret as the toy attack writes it."""
        (folder / "secret.json").write_text(json.dumps({"trigger": [0, 0, 0, 8], "target": [9, 9]}), encoding="utf-8")
        return Secret.seal(folder, format="toy-secret", task=memory.TASK)

    def perfect_outputs(self, folder: Path, outputs: Outputs, secret: Secret) -> Outputs:
        """The target for every row."""
        target = memory.read_secret(secret)["target"]
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
