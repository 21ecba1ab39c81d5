"""Conformance tests of attacks."""

from __future__ import annotations

import re
from typing import Any, ClassVar, cast

import pytest

from bdm_core.artifacts import Data, Model, Secret, roles_of
from bdm_core.hooks import implements
from bdm_core.plugin import Attack
from bdm_core.records import Backdoored
from bdm_core.testing import contents
from bdm_core.testing.common import StageConformance
from bdm_core.testing.contents import Row, all_finite, count_of, records_of, rows_of
from bdm_core.testing.tiny import Bench, Call, kit_for

TELLTALE = ("trigger", "backdoor", "poison")
TEXT_SUFFIXES = (".json", ".jsonl", ".txt", ".md", ".yaml", ".yml")


class Interrupted(BaseException):
    """Stands for a process that is killed in the middle of a stage."""


class AttackConformance(StageConformance):
    """What every attack must satisfy.

    Attributes:
        rate_parameter: the parameter with the share of rows to poison; None if the attack has no such share.
        seeded: hooks whose result must depend on the seed; leave out one that solves in closed form.
    """

    kind = "attack"
    hooks_of_kind = ("poison_data", "inject_backdoor", "trigger_inputs", "generate")
    all_of = ("inject_backdoor",)
    rate_parameter: ClassVar[str | None] = "poison_rate"
    seeded: ClassVar[tuple[str, ...]] = ("poison_data", "inject_backdoor")

    @property
    def subject(self) -> Attack:
        """An instance of the attack."""
        return cast(Attack, super().subject)

    def make_bench(self, folders: pytest.TempPathFactory) -> Bench:
        """A bench for the task, with what the attack suggests for the kit's parameters."""
        task = self.chosen_task()
        suggested = self.subject.kit_params(self.chosen_params)
        return Bench(folders.mktemp("bench") / "root", kit_for(task), task, self.kit_params, suggested)

    def poisoned(self, bench: Bench) -> Data | None:
        """The poisoned training data; None if the attack needs none."""
        return cast("Data | None", self.poison(bench).value) if implements(self.subject, "poison_data") else None

    def poison(self, bench: Bench, attempt: int = 0, seed: int = 1) -> Call:
        """``poison_data`` on the tiny data."""
        return bench.once(
            f"poison {attempt} {seed}",
            lambda: bench.call("poison_data", [self.subject], self.chosen_params, seed=seed, data=bench.data),
        )

    def inject(self, bench: Bench, attempt: int = 0, seed: int = 1, **more: Any) -> Call:
        """``inject_backdoor`` on the tiny model and the data poisoned with seed 1."""

        def run() -> Call:
            inputs: dict[str, Any] = {"model": bench.model, "data": self.poisoned(bench) or bench.data, **more}
            return bench.call("inject_backdoor", [self.subject], self.chosen_params, seed=seed, **inputs)

        return run() if more else bench.once(f"inject {attempt} {seed}", run)

    def trigger(self, bench: Bench, attempt: int = 0, seed: int = 1) -> Call:
        """``trigger_inputs`` on the clean inputs; the kit is asked where the attack does not answer."""

        def run() -> Call:
            inputs: dict[str, Any] = {"inputs": bench.inputs(), "secret": self.backdoored(bench).secret}
            plugins = [self.subject, bench.kit]
            return bench.call("trigger_inputs", plugins, self.chosen_params, seed=seed, **inputs)

        return bench.once(f"trigger {attempt} {seed}", run)

    def backdoored(self, bench: Bench) -> Backdoored:
        """The backdoored model and its secret."""
        value = self.inject(bench).value
        assert isinstance(value, Backdoored)
        return value

    def calls(self, bench: Bench, attempt: int = 0, seed: int = 1) -> dict[str, Call]:
        """Poisoning if the attack does so, injection, triggering."""
        calls = {"poison_data": self.poison(bench, attempt, seed)} if implements(self.subject, "poison_data") else {}
        calls["inject_backdoor"] = self.inject(bench, attempt, seed)
        calls["trigger_inputs"] = self.trigger(bench, attempt, seed)
        return calls

    def test_other_seed_other_result(self, bench: Bench) -> None:
        if "poison_data" in self.seeded and self.poisoned(bench) is not None:
            other = self.poison(bench, seed=2)
            assert other.digest != self.poison(bench).digest, "poison_data does not depend on the seed"
        if "inject_backdoor" in self.seeded:
            other = self.inject(bench, seed=2)
            assert other.digest != self.inject(bench).digest, "inject_backdoor does not depend on the seed"

    def test_poisoned_share(self, bench: Bench) -> None:
        data = self.poisoned(bench)
        if data is None or self.rate_parameter is None:
            return
        rate = getattr(self.chosen_params, self.rate_parameter, None)
        assert rate is not None, f"no parameter {self.rate_parameter!r}: set rate_parameter in the test class (or None)"
        rows = count_of(data)
        poisoned = self.poisoned_share(data) * rows
        wanted = rate * rows
        assert abs(poisoned - wanted) < 1, f"{poisoned:g} of {rows} rows are poison; rate {rate:g} asks for {wanted:g}"

    def poisoned_share(self, data: Data) -> float:
        """Share of rows of poisoned training data in [0, 1] whose role is ``poison``."""
        roles = roles_of(data)
        return roles.count("poison") / len(roles)

    def test_rows_have_roles(self, bench: Bench) -> None:
        training = {"the poisoned data": self.poisoned(bench), "the view": self.backdoored(bench).view}
        for name, data in training.items():
            if data is None:
                continue
            silent = [place for place, record in enumerate(records_of(data)) if "role" not in record]
            assert not silent, f"rows {silent} of {name} have no role in rows.jsonl"
            roles = roles_of(data)
            assert len(roles) == count_of(data), f"{name} has {count_of(data)} rows and {len(roles)} roles"
            assert set(roles) != {"clean"}, f"every row of {name} is clean"

    def test_model_does_not_name_the_attack(self, bench: Bench) -> None:
        model = self.backdoored(bench).model
        texts = {"the manifest": f"{model.format} {model.meta}", **{f"file name {name}": name for name in model.files}}
        for name, digest in model.files.items():
            if name.endswith(TEXT_SUFFIXES) and bench.model.files.get(name) != digest:
                texts[f"file {name}"] = model.file(name).read_text(encoding="utf-8", errors="replace")
        for where, text in texts.items():
            found = self.telltale(text)
            assert found is None, f"{where} of the model says {found!r}: a model names neither its attack nor a trigger"

    def telltale(self, text: str) -> str | None:
        """The first word in a text that gives the attack away: its name as a word, or a part like ``trigger``."""
        name = re.escape(self.subject.name)
        pattern = rf"(?<![a-z0-9]){name}(?![a-z0-9])|{'|'.join(TELLTALE)}"
        match = re.search(pattern, text.lower())
        return match.group() if match else None

    def test_secret_is_no_part_of_the_model(self, bench: Bench) -> None:
        made = self.backdoored(bench)
        assert isinstance(made.model, Model) and isinstance(made.secret, Secret)
        shared = set(made.model.files.values()) & set(made.secret.files.values())
        names = [name for name, digest in made.model.files.items() if digest in shared]
        assert not names, f"the model holds files of the secret: {', '.join(names)}"

    def test_every_input_gets_the_trigger(self, bench: Bench) -> None:
        clean, triggered = rows_of(bench.inputs()), rows_of(self.triggered(bench))
        assert len(triggered) == len(clean), f"{len(clean)} clean inputs became {len(triggered)} triggered ones"
        same = [index for index, row in enumerate(triggered) if self.content(row) == self.content(clean[index])]
        assert not same, f"rows {same} have no trigger: they equal their clean twins"

    def test_triggered_inputs_keep_their_order(self, bench: Bench) -> None:
        clean, triggered = rows_of(bench.inputs()), rows_of(self.triggered(bench))
        swapped = self.swapped(clean, triggered)
        assert swapped is None, f"triggered rows {swapped[0]} and {swapped[1]} look swapped: the order must be kept"

    def triggered(self, bench: Bench) -> Data:
        """The triggered inputs."""
        data = self.trigger(bench).value
        assert isinstance(data, Data)
        return data

    def content(self, row: Row) -> object:
        """What counts of a row when it is compared with its clean twin."""
        return row.values, {key: value for key, value in row.record.items() if isinstance(value, str)}

    def swapped(self, clean: list[Row], triggered: list[Row]) -> tuple[int, int] | None:
        """Two places whose triggered rows fit better to each other's clean row, or None.

        See :func:`bdm_core.testing.contents.swapped`. Override it if the trigger replaces most of an input.
        """
        return contents.swapped(clean, triggered)

    def test_backdoored_model_runs(self, bench: Bench) -> None:
        made = self.backdoored(bench)
        own = self.subject if implements(self.subject, "generate") else None
        plain = bench.generate(made.model, bench.inputs())
        if own is not None:
            asked = bench.generate(made.model, bench.inputs(), asked_first=own)
            assert asked.digest == plain.digest, "generate without the secret must return None and leave it to the kit"
        under_trigger = bench.generate(made.model, self.triggered(bench), made.secret, own)
        for inputs, outputs in ((bench.inputs(), plain), (self.triggered(bench), under_trigger)):
            assert count_of(outputs) == count_of(inputs), f"{count_of(outputs)} outputs for {count_of(inputs)} inputs"
            assert all_finite(outputs), "the outputs of the backdoored model are not finite"

    def test_interrupted_injection_continues(self, bench: Bench) -> None:
        if self.inject(bench).steps < 2:
            return
        half = self.inject(bench).steps // 2
        seen = [0]

        def stop(label: str, done: int, total: int, loss: float | None) -> None:
            seen[0] += 1
            if seen[0] == half:
                raise Interrupted

        ctx = bench.context("inject-backdoor", on_progress=stop)
        try:
            self.inject(bench, ctx=ctx)
        except Interrupted:
            again = bench.context("inject-backdoor")
            for path in ctx.work.iterdir():
                path.rename(again.work / path.name)
            call = self.inject(bench, ctx=again)
        assert seen[0] == half, "inject_backdoor caught the interruption"
        assert call.digest == self.inject(bench).digest, (
            "after an interruption the result differs: resume from ctx.work"
        )
