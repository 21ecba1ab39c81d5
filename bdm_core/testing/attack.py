"""Conformance tests of attacks."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from bdm_core import hooks
from bdm_core.artifacts import Backdoored, Data, Model, Secret
from bdm_core.hooks import implements
from bdm_core.testing.common import StageConformance
from bdm_core.testing.contents import Row, all_finite, count_of, records_of, rows_of
from bdm_core.testing.tiny import Bench, Call

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
    hooks_of_kind = ("poison_data", "inject_backdoor", "generate")
    all_of = ("poison_data", "inject_backdoor")
    rate_parameter: ClassVar[str | None] = "poison_rate"
    seeded: ClassVar[tuple[str, ...]] = ("poison_data", "inject_backdoor")

    def poison(self, bench: Bench, attempt: int = 0, seed: int = 1) -> Call:
        """``poison_data`` with split ``train``."""
        return bench.once(
            f"poison {attempt} {seed}",
            lambda: bench.call(
                hooks.poison_data,
                [self.subject],
                self.chosen_params,
                seed=seed,
                data=bench.data,
                split="train",
                secret=None,
            ),
        )

    def inject(self, bench: Bench, attempt: int = 0, seed: int = 1, **more: Any) -> Call:
        """``inject_backdoor`` on the tiny model and the data poisoned with seed 1."""

        def run() -> Call:
            data = self.poison(bench).value or bench.data
            return bench.call(
                hooks.inject_backdoor,
                [self.subject],
                self.chosen_params,
                seed=seed,
                model=bench.model,
                data=data,
                **more,
            )

        return run() if more else bench.once(f"inject {attempt} {seed}", run)

    def trigger(self, bench: Bench, attempt: int = 0, seed: int = 1) -> Call:
        """``poison_data`` with split ``trigger`` on the clean inputs."""
        return bench.once(
            f"trigger {attempt} {seed}",
            lambda: bench.call(
                hooks.poison_data,
                [self.subject],
                self.chosen_params,
                seed=seed,
                data=bench.inputs(),
                split="trigger",
                secret=self.backdoored(bench).secret,
            ),
        )

    def backdoored(self, bench: Bench) -> Backdoored:
        """The backdoored model and its secret."""
        value = self.inject(bench).value
        assert isinstance(value, Backdoored)
        return value

    def calls(self, bench: Bench, attempt: int = 0, seed: int = 1) -> dict[str, Call]:
        """Poisoning, injection, triggering."""
        return {
            "poison_data('train')": self.poison(bench, attempt, seed),
            "inject_backdoor": self.inject(bench, attempt, seed),
            "poison_data('trigger')": self.trigger(bench, attempt, seed),
        }

    def test_other_seed_other_result(self, bench: Bench) -> None:
        if "poison_data" in self.seeded and self.poison(bench).value is not None:
            other = self.poison(bench, seed=2)
            assert other.digest != self.poison(bench).digest, "poison_data('train') does not depend on the seed"
        if "inject_backdoor" in self.seeded:
            other = self.inject(bench, seed=2)
            assert other.digest != self.inject(bench).digest, "inject_backdoor does not depend on the seed"

    def test_poisoned_share(self, bench: Bench) -> None:
        data = self.poison(bench).value
        if data is None or self.rate_parameter is None:
            return
        rate = getattr(self.chosen_params, self.rate_parameter, None)
        assert rate is not None, f"no parameter {self.rate_parameter!r}: set rate_parameter in the test class (or None)"
        rows = count_of(data)
        poisoned = self.poisoned_share(data) * rows
        wanted = rate * rows
        assert abs(poisoned - wanted) < 1, (
            f"{poisoned:g} of {rows} rows are poisoned; rate {rate:g} asks for {wanted:g}"
        )

    def poisoned_share(self, data: Data) -> float:
        """Share of poisoned rows in [0, 1]: those marked ``"poisoned": true`` in ``rows.jsonl``."""
        marks = [record.get("poisoned") for record in records_of(data)]
        assert marks and all(isinstance(mark, bool) for mark in marks), (
            'rows.jsonl does not say "poisoned": true or false for every row; override poisoned_share(data)'
        )
        return sum(bool(mark) for mark in marks) / len(marks)

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
        assert isinstance(data, Data), "poison_data returned nothing for split 'trigger'"
        return data

    def content(self, row: Row) -> object:
        """What counts of a row when it is compared with its clean twin."""
        return row.values, {key: value for key, value in row.record.items() if isinstance(value, str)}

    def swapped(self, clean: list[Row], triggered: list[Row]) -> tuple[int, int] | None:
        """Two places whose triggered rows fit better to each other's clean row, or None.

        Rows with an ``id`` are compared by it, others by squared distance. For any trigger that maps an input x to
        a * x + t with a > 0, exchanging two rightly placed rows adds 2 a |x_i - x_j|^2 to the sum of squared
        distances, so rightly placed rows never look swapped. Override it if the trigger replaces most of an input.
        """
        rows = list(zip(clean, triggered, strict=True))
        for i, (twin, row) in enumerate(rows):
            for j, (other_twin, other) in enumerate(rows[:i]):
                if "id" in row.record and "id" in twin.record:
                    wrong = row.record["id"] != twin.record["id"]
                else:
                    kept = _distance(row, twin) + _distance(other, other_twin)
                    wrong = _distance(row, other_twin) + _distance(other, twin) < kept * (1 - 1e-9)
                if wrong:
                    return j, i
        return None

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


def _distance(one: Row, other: Row) -> float:
    if len(one.values) != len(other.values):
        return 0.0
    return sum((a - b) ** 2 for a, b in zip(one.values, other.values, strict=True))
