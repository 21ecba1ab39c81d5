"""Conformance tests of metrics."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from bdm_core.artifacts import Outputs, Secret
from bdm_core.records import Detection, Measurement, Subject
from bdm_core.testing.common import StageConformance
from bdm_core.testing.contents import count_of
from bdm_core.testing.tiny import Bench, Call

Role = Literal["clean", "backdoored", "purified", "repaired"]


class MetricConformance(StageConformance):
    """What every metric must satisfy.

    Attributes:
        ideal: measurement -> the value it must have for a perfect attack: every output from a triggered input is the
            target, every other output is the clean model's. E.g. ``{"mse": 0.0, "asr@0.05": 1.0}``.
        tolerance: how far a value may be from its ideal.
        undirected: measurements that are neither better high nor better low.
    """

    kind = "metric"
    hooks_of_kind = ("score",)
    all_of = ("score",)
    ideal: ClassVar[Mapping[str, float]] = {}
    tolerance: ClassVar[float] = 1e-6
    undirected: ClassVar[frozenset[str]] = frozenset()

    def secret(self, bench: Bench) -> Secret:
        """A secret of the task: the kit's ``tiny_secret``."""
        return bench.once("secret", lambda: bench.kit.tiny_secret(self._folder(bench, "secret"), bench.model))

    def perfect(self, bench: Bench) -> Outputs:
        """Outputs of a perfect attack from triggered inputs: the kit's ``perfect_outputs``."""
        plain, secret = bench.generate(bench.model, bench.inputs()), self.secret(bench)
        return bench.once("perfect", lambda: bench.kit.perfect_outputs(self._folder(bench, "outputs"), plain, secret))

    @staticmethod
    def _folder(bench: Bench, name: str) -> Path:
        folder = bench.folder(name)
        folder.mkdir(parents=True)
        return folder

    def row(self, bench: Bench, role: Role, **more: Any) -> Subject:
        """A subject: backdoored with the outputs of a perfect attack, or another role with the clean model's.

        ``more`` replaces fields of the subject.
        """
        fields: dict[str, Any] = {
            "model": bench.model,
            "on_clean": bench.generate(bench.model, bench.inputs()),
            "on_triggered": (
                self.perfect(bench) if role == "backdoored" else bench.generate(bench.model, bench.inputs(seed=2))
            ),
            "reference": bench.data,
            "secret": self.secret(bench),
            "clean": [bench.generate(bench.model, bench.inputs())] * 2,
        }
        return Subject(role=role, **{**fields, **more})

    def purified(self, bench: Bench, kept: int) -> Subject:
        """A subject whose defense let the first ``kept`` inputs pass and turned the others away."""
        inputs = bench.inputs()
        outputs = bench.generate(bench.model, bench.select([inputs], list(range(kept))))
        gone = count_of(inputs) - kept
        return self.row(
            bench, "purified", on_clean=outputs, on_triggered=outputs, rejected_clean=gone, rejected_triggered=gone
        )

    def rows(self, bench: Bench) -> dict[str, Subject]:
        """The subjects to measure, with and without a detection at each level, and one with rejected inputs."""
        count = count_of(bench.inputs())
        labels = [index % 2 == 0 for index in range(count)]
        of_model = Detection(level="model", scores=[2.0], threshold=1.0, p_value=0.01, clean_samples=8)
        of_inputs = Detection(level="input", scores=[float(label) for label in labels], threshold=0.5)
        unsure = Detection(level="model", scores=[0.0], threshold=1.0, conclusive=False, note="too few samples")
        rows = count_of(bench.data)
        of_rows = Detection(level="data", scores=[float(row < rows // 2) for row in range(rows)], threshold=0.5)
        poisoned = [score > 0 for score in of_rows.scores]
        return {
            "clean model": self.row(bench, "clean"),
            "perfect attack": self.row(bench, "backdoored"),
            "perfect attack with a detection": self.row(bench, "backdoored", detection=of_model),
            "perfect attack with judged inputs": self.row(bench, "backdoored", detection=of_inputs, suspects=labels),
            "perfect attack with judged rows": self.row(bench, "backdoored", detection=of_rows, suspects=poisoned),
            "clean model with an inconclusive detection": self.row(bench, "clean", detection=unsure),
            "purified inputs": self.purified(bench, count // 2),
            "repaired model": self.row(bench, "repaired"),
        }

    def calls(self, bench: Bench, attempt: int = 0, seed: int = 1) -> dict[str, Call]:
        """``score`` of every subject."""
        return {
            name: bench.once(f"score {name} {attempt} {seed}", functools.partial(self.score, bench, subject, seed))
            for name, subject in self.rows(bench).items()
        }

    def score(self, bench: Bench, subject: Subject, seed: int = 1) -> Call:
        """``score`` of one subject."""
        return bench.call("score", [self.subject], self.chosen_params, seed=seed, subject=subject)

    def measured(self, bench: Bench) -> list[tuple[str, Measurement]]:
        """Every measurement with the name of its subject."""
        return [(name, item) for name, call in self.calls(bench).items() for item in call.value]

    def test_measures_something(self, bench: Bench) -> None:
        assert any(item.value is not None for _, item in self.measured(bench)), "score measured nothing on any subject"

    def test_values_are_finite_or_none(self, bench: Bench) -> None:
        for name, item in self.measured(bench):
            assert item.value is None or math.isfinite(item.value), f"{name}: {item.metric} is {item.value}"
            error = item.stderr
            assert error is None or 0 <= error < math.inf, f"{name}: {item.metric} has standard error {error}"

    def test_sample_counts_are_given(self, bench: Bench) -> None:
        for name, item in self.measured(bench):
            assert item.n is not None and item.n >= 0, (
                f"{name}: {item.metric} does not say how many samples it rests on"
            )

    def test_names_are_unique(self, bench: Bench) -> None:
        for name, call in self.calls(bench).items():
            names = [item.metric for item in call.value]
            twice = sorted({key for key in names if names.count(key) > 1})
            assert not twice, f"{name}: measured twice, also if on different inputs: {twice}: results go by the name"

    def test_directions_are_declared(self, bench: Bench) -> None:
        for name, item in self.measured(bench):
            known = item.higher_is_better is not None or item.metric in self.undirected
            assert known, f"{name}: {item.metric} says neither better high nor better low"

    def test_every_number_is_described(self, bench: Bench) -> None:
        for name, item in self.measured(bench):
            assert item.description.strip(), f"{name}: {item.metric} has no description for the report"

    def test_shares_lie_between_0_and_1(self, bench: Bench) -> None:
        for name, item in self.measured(bench):
            rate = item.measures == "attack-success"
            assert item.share or not rate, f"{name}: {item.metric} measures attack success: it is a share=True"
            right = not item.share or item.value is None or 0 <= item.value <= 1
            assert right, f"{name}: {item.metric} is said to be a share, and is {item.value}"

    def test_headline_numbers_are_unique(self, bench: Bench) -> None:
        for name, call in self.calls(bench).items():
            marks = [item.measures for item in call.value if item.measures]
            twice = sorted({mark for mark in marks if marks.count(mark) > 1})
            assert not twice, f"{name}: several measurements say measures={twice[0]!r}: mark the first one only"

    def test_no_outputs_are_no_failure(self, bench: Bench) -> None:
        for item in self.score(bench, self.purified(bench, 0)).value:
            assert item.value is None or math.isfinite(item.value), f"{item.metric} is {item.value} without outputs"

    def test_perfect_attack_scores_its_ideal(self, bench: Bench) -> None:
        found = {item.metric: item.value for item in self.calls(bench)["perfect attack"].value if item.on != "clean"}
        for metric, ideal in self.ideal.items():
            value = found.get(metric)
            right = value is not None and math.isclose(value, ideal, rel_tol=0, abs_tol=self.tolerance)
            assert right, f"{metric} of a perfect attack is {value}, expected {ideal}"
