"""Conformance tests of task kits."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bdm_core import hooks
from bdm_core.artifacts import MANIFEST, Artifact, Data
from bdm_core.discovery.candidates import installed
from bdm_core.errors import BdmError
from bdm_core.testing.common import StageConformance
from bdm_core.testing.contents import Row, all_finite, count_of, mean_change, rows_of
from bdm_core.testing.tiny import TINY, Bench, Call


class KitConformance(StageConformance):
    """What every task kit must satisfy: tiny model and data, round trips, determinism, refusals.

    Attributes:
        row_tolerance: how much an output may depend on the other rows of its batch, in the outputs' own unit; the
            default allows two grey levels of an 8 bit picture in [-1, 1].
    """

    kind = "kit"
    hooks_of_kind = ("open_model", "open_data", "share_data", "make_inputs", "mix_inputs", "generate")
    all_of = hooks_of_kind
    row_tolerance: ClassVar[float] = 2 / 127.5 + 1e-6

    def chosen_task(self) -> str:
        """``task``, or the first that the kit declares."""
        assert self.subject.tasks, "a kit declares its tasks"
        return self.task or min(self.subject.tasks)

    def make_bench(self, folders: pytest.TempPathFactory) -> Bench:
        """A bench with this kit."""
        values = {**self.kit_params, **self.params}
        return Bench(folders.mktemp("bench") / "root", self.subject, self.chosen_task(), values)

    def run(self, bench: Bench, hook: Any, seed: int = 1, **inputs: Any) -> Call:
        """One watched call with the bench's parameters."""
        return bench.call(hook, [bench.kit], bench.kit_params, seed=seed, **inputs)

    def calls(self, bench: Bench, attempt: int = 0, seed: int = 1) -> dict[str, Call]:
        """Every hook once."""

        def make() -> dict[str, Call]:
            model, data = bench.model, bench.data
            first, second = bench.inputs(), bench.inputs(seed=2)
            order = [count_of(first), 0]
            return {
                "open_model": self.run(bench, hooks.open_model, seed, reference=TINY),
                "open_data": self.run(bench, hooks.open_data, seed, model=model, reference=TINY),
                "share_data": self.run(bench, hooks.share_data, seed, data=data, share=0.5),
                "make_inputs": self.run(bench, hooks.make_inputs, seed, model=model, data=data),
                "mix_inputs": self.run(bench, hooks.mix_inputs, seed, clean=first, triggered=second, order=order),
                "generate": self.run(bench, hooks.generate, seed, model=model, inputs=first, secret=None),
            }

        return bench.once(f"calls {attempt} {seed}", make)

    def test_task_entry_points(self) -> None:
        kit = type(self.subject)
        home = f"{kit.__module__}:{kit.__qualname__}"
        mine = [item for item in installed("kit") if item.target == home]
        entries = [entry for item in mine for entry in item.dist.entry_points.select(group="bdm.tasks")]
        served = {entry.name for entry in entries if entry.value == home}
        assert served == kit.tasks, f"entry points of group bdm.tasks serve {sorted(served)}, not {sorted(kit.tasks)}"

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

    def test_shared_data_are_a_share(self, bench: Bench) -> None:
        half, total = count_of(bench.shared), count_of(bench.data)
        assert abs(half - total / 2) < 1, f"half of {total} rows are {half}"
        every = [self.content(row) for row in rows_of(bench.data)]
        assert all(self.content(row) in every for row in rows_of(bench.shared)), "share_data made new rows"
        other = self.run(bench, hooks.share_data, 2, data=bench.data, share=0.5).value
        assert other.digest != bench.shared.digest, "share_data does not depend on the seed"

    def test_mixing_keeps_rows_and_order(self, bench: Bench) -> None:
        first, second = bench.inputs(), bench.inputs(seed=2)
        rows = [*rows_of(first), *rows_of(second)]
        order = list(range(len(rows)))
        random.Random(0).shuffle(order)
        mixed = rows_of(bench.mixed(first, second, order))
        wanted = [self.content(rows[index]) for index in order]
        assert [self.content(row) for row in mixed] == wanted, (
            "row i is not row order[i] of clean followed by triggered"
        )

    def test_mixing_writes_no_label(self, bench: Bench) -> None:
        first, second = bench.inputs(), bench.inputs(seed=2)
        count = count_of(first)
        there = bench.mixed(first, second, [0, count])
        back = bench.mixed(second, first, [count, 0])
        assert there.digest == back.digest, "the mix tells which rows came from the triggered inputs"

    def test_model_round_trip(self, bench: Bench) -> None:
        again = self.run(bench, hooks.open_model, reference=str(bench.model.path)).value
        assert (again.format, again.task) == (bench.model.format, bench.model.task)
        one, other = (bench.generate(model, bench.inputs()) for model in (bench.model, again))
        assert mean_change(one, other) == 0, "a model opened from its own folder gives other outputs"

    def test_data_round_trip(self, bench: Bench) -> None:
        reference = str(bench.data.path)
        again = self.run(bench, hooks.open_data, model=bench.model, reference=reference).value
        rows, new = rows_of(bench.data), rows_of(again)
        assert len(new) == len(rows), f"{len(rows)} rows became {len(new)}"
        assert [row.values for row in new] == [row.values for row in rows], "data opened from their own folder differ"

    def test_outputs_do_not_depend_on_the_batch(self, bench: Bench) -> None:
        inputs = bench.inputs()
        rows = rows_of(bench.generate(bench.model, inputs))
        for count in (1, 3):
            part = rows_of(bench.generate(bench.model, bench.mixed(inputs, inputs, list(range(count)))))
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
        self._refused(bench, hooks.open_model, reference=str(folder))

    def test_refuses_what_is_no_model(self, bench: Bench) -> None:
        folder = bench.folder("foreign") / "notes"
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("no model\n", encoding="utf-8")
        for reference in (folder, folder / "nowhere"):
            self._refused(bench, hooks.open_model, reference=str(reference))

    def test_refuses_what_is_no_data(self, bench: Bench) -> None:
        folder = bench.folder("foreign") / "notes"
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("no data\n", encoding="utf-8")
        for reference in (folder, folder / "nowhere"):
            self._refused(bench, hooks.open_data, model=bench.model, reference=str(reference))

    def test_refuses_an_unknown_name(self, bench: Bench) -> None:
        self._refused(bench, hooks.open_model, reference="no-such-built-in-model")
        self._refused(bench, hooks.open_data, model=bench.model, reference="no-such-built-in-data")

    def test_metrics_can_be_tested(self, bench: Bench) -> None:
        for method in ("tiny_secret", "perfect_outputs"):
            assert hasattr(bench.kit, method), f"the kit has no method {method}: the tests of metrics need it"
        for name in ("secret", "perfect"):
            (bench.root / name).mkdir(exist_ok=True)
        secret = bench.kit.tiny_secret(bench.root / "secret", bench.model)  # type: ignore[attr-defined]
        plain = bench.generate(bench.model, bench.inputs())
        perfect = bench.kit.perfect_outputs(bench.root / "perfect", plain, secret)  # type: ignore[attr-defined]
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

    def _refused(self, bench: Bench, hook: Any, **inputs: Any) -> None:
        with pytest.raises(BdmError) as caught:
            self.run(bench, hook, **inputs)
        message = str(caught.value)
        assert caught.value.exit_code == 2, f"exit code {caught.value.exit_code} for bad input: {message}"
        assert message and "\n" not in message, f"an error for the user is one line, not {message!r}"


def _size(path: Path) -> int:
    return 0 if path.name == MANIFEST else path.stat().st_size
