"""Conformance tests of task kits."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from bdm_core.artifacts import ROWS, Artifact, Data, Secret
from bdm_core.errors import BdmError
from bdm_core.files import MANIFEST
from bdm_core.hooks import implements
from bdm_core.plugin import Kit
from bdm_core.testing.alone import HEAVY, run_alone
from bdm_core.testing.common import StageConformance
from bdm_core.testing.contents import Row, all_finite, count_of, mean_change, records_of, rows_of
from bdm_core.testing.illustrations import complaints
from bdm_core.testing.tiny import Bench, Call

NEEDED = ("open_model", "open_data", "make_inputs", "select_rows", "generate", "illustrate")
WRAPPED = ("detect", "purify_inputs", "repair")
"""Hooks of defenses, which a kit may wrap and does not answer."""


class KitConformance(StageConformance):
    """What every task kit must satisfy: tiny model and data, round trips, determinism, refusals.

    Attributes:
        row_tolerance: how much an output may depend on the other rows of its batch, in the outputs' own unit; the
            default allows two grey levels of an 8 bit picture in [-1, 1].
    """

    kind = "kit"
    hooks_of_kind = (*NEEDED, "trigger_inputs", *WRAPPED)
    all_of = NEEDED
    row_tolerance: ClassVar[float] = 2 / 127.5 + 1e-6

    @property
    def subject(self) -> Kit:
        """An instance of the kit."""
        return cast(Kit, super().subject)

    def chosen_task(self) -> str:
        """``task``, or the first that the kit declares."""
        assert self.subject.tasks, "a kit declares its tasks"
        return self.task or min(self.subject.tasks)

    def make_bench(self, folders: pytest.TempPathFactory) -> Bench:
        """A bench with this kit."""
        values = {**self.kit_params, **self.params}
        return Bench(folders.mktemp("bench") / "root", self.subject, self.chosen_task(), values)

    def run(self, bench: Bench, hook: str, seed: int = 1, **inputs: Any) -> Call:
        """One watched call with the bench's parameters."""
        return bench.call(hook, [bench.kit], bench.kit_params, seed=seed, **inputs)

    def calls(self, bench: Bench, attempt: int = 0, seed: int = 1) -> dict[str, Call]:
        """Every hook once."""

        def make() -> dict[str, Call]:
            model, data, inputs = bench.model, bench.data, bench.inputs()
            chosen = {"sources": [inputs, bench.inputs(seed=2)], "rows": [count_of(inputs), 0], "blind": True}
            return {
                "open_model": self.run(bench, "open_model", seed, reference=bench.tiny),
                "open_data": self.run(bench, "open_data", seed, model=model, reference=bench.tiny),
                "make_inputs": self.run(bench, "make_inputs", seed, model=model, data=data),
                "select_rows": self.run(bench, "select_rows", seed, **chosen),
                "generate": self.run(bench, "generate", seed, model=model, inputs=inputs, secret=None),
            }

        return bench.once(f"calls {attempt} {seed}", make)

    def test_hooks_of_defenses_are_wrapped_only(self) -> None:
        answered = [
            name
            for name in WRAPPED
            if implements(self.subject, name) and not getattr(self.subject, name).bdm_impl["wrapper"]
        ]
        assert not answered, f"a kit wraps {', '.join(answered)} (@hookimpl(wrapper=True)); the answer is the defense's"

    def test_rows_are_counted(self, bench: Bench) -> None:
        for name, call in self.calls(bench).items():
            if isinstance(call.value, Data):
                count = call.value.meta.get("count")
                assert isinstance(count, int) and count > 0, f"{name}: meta['count'] is {count!r}"

    def test_outputs_fit_the_inputs(self, bench: Bench) -> None:
        outputs = bench.generate(bench.model, bench.inputs())
        rows = rows_of(outputs)
        assert len(rows) == count_of(bench.inputs()), f"{len(rows)} outputs for {count_of(bench.inputs())} inputs"
        assert all(row.values or row.record for row in rows), "an output has no content"
        assert all_finite(outputs), "outputs are not finite"

    def test_seed_decides_the_inputs(self, bench: Bench) -> None:
        assert bench.inputs().digest != bench.inputs(seed=2).digest, "make_inputs does not depend on the seed"

    def test_selection_keeps_rows_and_order(self, bench: Bench) -> None:
        inputs = [bench.inputs(), bench.inputs(seed=2)]
        for sources in (inputs, [bench.data], [bench.data, bench.data]):
            rows = [self.content(row) for source in sources for row in rows_of(source)]
            order = list(range(len(rows)))
            random.Random(0).shuffle(order)
            for chosen in (order, [order[0], order[1], order[0]], []):
                for blind in (False, True):
                    made = bench.select(sources, chosen, blind=blind)
                    assert count_of(made) == len(chosen), f"{count_of(made)} rows; {len(chosen)} were chosen"
                    found = [self.content(row) for row in rows_of(made)]
                    wanted = [rows[index] for index in chosen]
                    assert found == wanted, "row i is not row rows[i] of the sources, counted through"

    def test_blind_selection_tells_no_source(self, bench: Bench) -> None:
        first, second = bench.inputs(), bench.inputs(seed=2)
        count = count_of(first)
        there = bench.select([first, second], [0, count])
        back = bench.select([second, first], [count, 0])
        assert there.digest == back.digest, "blind rows tell which source they came from"

    def test_blind_selection_hides_roles(self, bench: Bench) -> None:
        rows = list(range(count_of(bench.data)))
        marked = self.marked(bench)
        if marked is None:
            return
        told = [record.get("role") for record in records_of(bench.select([marked], rows, blind=False))]
        assert told == [record["role"] for record in records_of(marked)], "rows that are not blind keep their role"
        hidden = bench.select([marked], rows)
        assert hidden.digest == bench.select([bench.data], rows).digest, "blind rows differ by their role"

    def marked(self, bench: Bench) -> Data | None:
        """The tiny data with a role in every row of ``rows.jsonl``; None if they have no such file."""
        records = records_of(bench.data)
        if not records:
            return None
        folder = bench.folder("marked") / "data"
        self._copy(bench.data, folder)
        lines = [json.dumps({**record, "role": ("clean", "poison")[row % 2]}) for row, record in enumerate(records)]
        (folder / ROWS).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return Data.seal(folder, format=bench.data.format, task=bench.data.task, meta=bench.data.meta)

    def test_no_inputs_no_outputs(self, bench: Bench) -> None:
        outputs = bench.generate(bench.model, bench.select([bench.inputs()], []))
        assert count_of(outputs) == 0, f"{count_of(outputs)} outputs for no input"

    def test_built_in_names_are_described(self) -> None:
        for method in ("models", "data_sets"):
            listed = getattr(self.subject, method)()
            assert listed, f"{method}() names nothing that --model or --data takes"
            names = [(item.task, item.name) for item in listed]
            assert len(set(names)) == len(names), f"{method}() names something twice: {names}"
            for item in listed:
                plain = item.name.strip() == item.name != "" and not {"/", "\\", ":"} & set(item.name)
                assert plain, f"{method}(): {item.name!r} reads like a path or a hub reference"
                assert item.task in self.subject.tasks, f"{method}(): {item.name} is for task {item.task!r}"
                said = item.summary.strip() and item.size.strip()
                assert said, f"{method}(): {item.name} needs a summary and a size"

    def test_default_data_are_built_in(self) -> None:
        kit = self.subject
        assert isinstance(kit, Kit)
        known = {item.name for item in kit.data_sets()}
        odd = {item.name: item.data for item in kit.models() if item.data and item.data not in known}
        assert not odd, f"models() name data that data_sets() does not have: {odd}"

    def test_models_are_recognised(self, bench: Bench) -> None:
        found = self.subject.task_of(bench.model.path)
        assert found == bench.task, f"task_of says {found!r} of the tiny model's folder, expected {bench.task!r}"
        foreign = bench.folder("foreign")
        foreign.mkdir(parents=True)
        (foreign / "notes.txt").write_text("no model\n", encoding="utf-8")
        assert self.subject.task_of(foreign) is None, "task_of calls a folder of notes a model"

    def shown(self, bench: Bench) -> list[Artifact]:
        """What ``illustrate`` must be able to show."""
        outputs = bench.generate(bench.model, bench.inputs())
        return [bench.data, bench.inputs(), outputs, self.secret(bench)]

    def secret(self, bench: Bench) -> Secret:
        """The kit's ``tiny_secret``."""

        def make() -> Secret:
            folder = bench.folder("secret")
            folder.mkdir(parents=True)
            return bench.kit.tiny_secret(folder, bench.model)

        return bench.once("secret", make)

    def test_artifacts_are_illustrated(self, bench: Bench) -> None:
        for artifact in self.shown(bench):
            call = self.run(bench, "illustrate", artifact=artifact)
            about = f"illustrate of {artifact.kind_name} in format {artifact.format!r}"
            assert call.value, f"{about}: no figure"
            wrong = complaints(call, artifact)
            assert not wrong, f"{about}: {'; '.join(wrong)}"

    def test_showing_is_light(self, bench: Bench) -> None:
        kit = type(self.subject)
        request = {
            "module": kit.__module__,
            "name": kit.__qualname__,
            "params": json.loads(bench.kit_params.model_dump_json()),
            "folder": str(bench.folder("alone")),
            "model": str(bench.model.path),
            "artifacts": [(type(item).__name__, str(item.path)) for item in self.shown(bench)],
        }
        code = "from bdm_core.testing.alone import use_kit\nuse_kit(sys.argv[1])"
        forbidden = tuple(name for name in HEAVY if name != "numpy")
        error, loaded = run_alone(code, forbidden, json.dumps(request))
        assert not error, f"models(), data_sets(), task_of() or illustrate fails in a fresh process: {error}"
        assert not loaded, f"models(), data_sets(), task_of() or illustrate imports {loaded}"

    def test_model_round_trip(self, bench: Bench) -> None:
        again = self.run(bench, "open_model", reference=str(bench.model.path)).value
        assert (again.format, again.task) == (bench.model.format, bench.model.task)
        one, other = (bench.generate(model, bench.inputs()) for model in (bench.model, again))
        assert mean_change(one, other) == 0, "a model opened from its own folder gives other outputs"

    def test_data_round_trip(self, bench: Bench) -> None:
        reference = str(bench.data.path)
        again = self.run(bench, "open_data", model=bench.model, reference=reference).value
        rows, new = rows_of(bench.data), rows_of(again)
        assert len(new) == len(rows), f"{len(rows)} rows became {len(new)}"
        assert [row.values for row in new] == [row.values for row in rows], "data opened from their own folder differ"

    def test_outputs_do_not_depend_on_the_batch(self, bench: Bench) -> None:
        inputs = bench.inputs()
        rows = rows_of(bench.generate(bench.model, inputs))
        for count in (1, 3):
            part = rows_of(bench.generate(bench.model, bench.select([inputs], list(range(count)))))
            for row, twin in zip(part, rows, strict=False):
                assert len(row.values) == len(twin.values), "an output's shape depends on the other rows"
                change = max((abs(a - b) for a, b in zip(row.values, twin.values, strict=True)), default=0.0)
                assert change <= self.row_tolerance, f"among {count} rows, an output differs by {change:.3g}"

    def test_refuses_pickled_weights(self, bench: Bench) -> None:
        folder = bench.folder("foreign") / "model"
        self._copy(bench.model, folder)
        for path in list(folder.rglob("*.safetensors")) or [max(folder.rglob("*.json"), key=_size)]:
            path.with_suffix(".bin").write_bytes(b"\x80\x04N.")
            path.unlink()
        self._refused(bench, "open_model", reference=str(folder))

    def test_refuses_what_is_no_model(self, bench: Bench) -> None:
        folder = bench.folder("foreign") / "notes"
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("no model\n", encoding="utf-8")
        for reference in (folder, folder / "nowhere"):
            self._refused(bench, "open_model", reference=str(reference))

    def test_refuses_what_is_no_data(self, bench: Bench) -> None:
        folder = bench.folder("foreign") / "notes"
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("no data\n", encoding="utf-8")
        for reference in (folder, folder / "nowhere"):
            self._refused(bench, "open_data", model=bench.model, reference=str(reference))

    def test_refuses_an_unknown_name(self, bench: Bench) -> None:
        self._refused(bench, "open_model", reference="no-such-built-in-model")
        self._refused(bench, "open_data", model=bench.model, reference="no-such-built-in-data")

    def test_metrics_can_be_tested(self, bench: Bench) -> None:
        secret = self.secret(bench)
        folder = bench.folder("perfect")
        folder.mkdir(parents=True)
        plain = bench.generate(bench.model, bench.inputs())
        perfect = bench.kit.perfect_outputs(folder, plain, secret)
        rows = [row.values for row in rows_of(perfect)]
        assert len(rows) == count_of(plain) and all(row == rows[0] for row in rows), "not every output is the target"
        assert [len(row) for row in rows] == [len(row.values) for row in rows_of(plain)]

    def content(self, row: Row) -> object:
        """What counts of a row when rows are compared."""
        return row.values, {key: value for key, value in row.record.items() if key in ("text", "prompt", "caption")}

    def _copy(self, artifact: Artifact, folder: Path) -> None:
        for name in artifact.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.path / name, folder / name)

    def _refused(self, bench: Bench, hook: str, **inputs: Any) -> None:
        with pytest.raises(BdmError) as caught:
            self.run(bench, hook, **inputs)
        message = str(caught.value)
        assert caught.value.exit_code == 2, f"exit code {caught.value.exit_code} for bad input: {message}"
        assert message and "\n" not in message, f"an error for the user is one line, not {message!r}"


def _size(path: Path) -> int:
    return 0 if path.name == MANIFEST else path.stat().st_size
