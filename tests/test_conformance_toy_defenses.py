"""The toy defenses find, turn away and undo exactly what the toy attack did: planted cases at every level."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bdm_core.artifacts import Data, Model, roles_of, rows_of
from bdm_core.discovery.candidates import find
from bdm_core.records import Backdoored, Purified
from bdm_core.testing import Bench
from bdm_core.testing.tiny import kit_for

TARGET = [9.0, 9.0]


class World:
    """A backdoored toy model with its poisoned data and triggered inputs."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder, kit_for("toy"), "toy")
        attack = find("attack", "toy").load()
        self.poisoned: Data = self.bench.call("poison_data", [attack], data=self.bench.data).value
        made: Backdoored = self.bench.call(
            "inject_backdoor", [attack], model=self.bench.model, data=self.poisoned
        ).value
        self.model, self.secret = made.model, made.secret
        inputs = {"inputs": self.bench.inputs(), "secret": self.secret}
        self.triggered: Data = self.bench.call("trigger_inputs", [attack, self.bench.kit], **inputs).value

    def call(self, name: str, hook: str, **inputs: Any) -> Any:
        """The answer of a toy defense, which may query the backdoored model."""
        ctx = self.bench.asking(hook, self.model)
        return self.bench.call(hook, [find("defense", name).load()], ctx=ctx, **inputs).value

    def mixture(self, sources: list[Data]) -> tuple[Data, list[int]]:
        """All rows of sources, shuffled and blind, with their places."""
        rows = list(range(sum(len(rows_of(source)) for source in sources)))
        random.Random(5).shuffle(rows)
        return self.bench.select(sources, rows), rows

    def success(self, model: Model) -> float:
        """Share of triggered inputs that a model answers with the target."""
        answers = [row["value"] for row in rows_of(self.bench.generate(model, self.triggered))]
        return answers.count(TARGET) / len(answers)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.syspath_prepend(Path(__file__).parent / "toy")
    made = World(tmp_path / "bench")
    assert made.success(made.bench.model) == 0
    assert made.success(made.model) == 1
    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] == "bdm_toy"]:
        monkeypatch.delitem(sys.modules, name)


def test_training_rows_are_told_apart_without_their_roles(world: World) -> None:
    rows, places = world.mixture([world.poisoned])
    assert not any("role" in row for row in rows_of(rows))
    found = world.call("toy-rows", "detect", model=world.model, data=None, suspects=rows)
    roles = roles_of(world.poisoned)
    assert [score > found.threshold for score in found.scores] == [roles[place] == "poison" for place in places]
    given = {"model": world.model, "data": None, "detection": found, "training_data": rows}
    assert world.success(world.call("toy-rows", "repair", **given)) == 0
    assert world.success(world.call("toy-rows", "repair", **{**given, "detection": None})) == 0


def test_triggered_inputs_are_turned_away(world: World) -> None:
    inputs, places = world.mixture([world.bench.inputs(), world.triggered])
    clean = len(rows_of(world.bench.inputs()))
    made: Purified = world.call(
        "toy-filter", "purify_inputs", model=None, data=world.bench.shared, inputs=inputs, detection=None
    )
    assert made.rejected == [place >= clean for place in places]
    assert rows_of(made.inputs) == rows_of(inputs)


def test_a_black_box_is_enough_to_judge_inputs(world: World) -> None:
    suspects, places = world.mixture([world.bench.inputs(), world.triggered])
    clean = len(rows_of(world.bench.inputs()))
    found = world.call("toy-black-box", "detect", model=None, data=world.bench.shared, suspects=suspects)
    assert [score > found.threshold for score in found.scores] == [place >= clean for place in places]
    assert found.network_evaluations == len(rows_of(world.bench.shared)) + len(places)


def test_training_anew_leaves_the_backdoor_out(world: World) -> None:
    rows, _ = world.mixture([world.poisoned])
    given = {"model": world.bench.model, "data": None, "detection": None, "training_data": rows}
    assert world.success(world.call("toy-trainer", "repair", **given)) == 0
