"""Conformance tests of metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from bdm_core import hooks
from bdm_core.artifacts import Detection, Measurement, Outputs, Secret, Subject
from bdm_core.testing.common import StageConformance
from bdm_core.testing.contents import count_of
from bdm_core.testing.tiny import Bench, Call

Role = Literal["clean", "backdoored", "repaired"]


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
        made = bench.once("secret", lambda: self._kit(bench, "tiny_secret", bench.model))
        assert isinstance(made, Secret)
        return made

    def perfect(self, bench: Bench) -> Outputs:
        """Outputs of a perfect attack from triggered inputs: the kit's ``perfect_outputs``."""
        plain = bench.generate(bench.model, bench.inputs())
        made = bench.once("perfect", lambda: self._kit(bench, "perfect_outputs", plain, self.secret(bench)))
        assert isinstance(made, Outputs)
        return made

    def _kit(self, bench: Bench, method: str, *arguments: Any) -> Any:
        assert hasattr(bench.kit, method), (
            f"the kit of {bench.task} has no method {method}: override secret() and perfect()"
        )
        folder = bench.folder(method.replace("_", "-"))
        folder.mkdir(parents=True)
        return getattr(bench.kit, method)(folder, *arguments)

    def row(self, bench: Bench, role: Role, detection: Detection | None = None, **more: Any) -> Subject:
        """A subject: backdoored with the outputs of a perfect attack, or clean or repaired with the clean model's."""
        clean = bench.generate(bench.model, bench.inputs())
        other = bench.generate(bench.model, bench.inputs(seed=2))
        return Subject(
            role=role,
            model=bench.model,
            on_clean=clean,
            on_triggered=self.perfect(bench) if role == "backdoored" else other,
            reference=bench.data,
            secret=self.secret(bench),
            detection=detection,
            **more,
        )

    def rows(self, bench: Bench) -> dict[str, Subject]:
        """The subjects to measure, with and without a detection at each level."""
        count = count_of(bench.inputs())
        labels = [index % 2 == 0 for index in range(count)]
        of_model = Detection(level="model", scores=[2.0], threshold=1.0, p_value=0.01, clean_samples=8)
        of_inputs = Detection(level="input", scores=[float(label) for label in labels], threshold=0.5)
        unsure = Detection(level="model", scores=[0.0], threshold=1.0, conclusive=False, note="too few samples")
        return {
            "clean model": self.row(bench, "clean"),
            "perfect attack": self.row(bench, "backdoored"),
            "perfect attack with a detection": self.row(bench, "backdoored", of_model),
            "perfect attack with judged inputs": self.row(bench, "backdoored", of_inputs, suspects=labels),
            "clean model with an inconclusive detection": self.row(bench, "clean", unsure),
            "repaired model": self.row(bench, "repaired"),
        }

    def calls(self, bench: Bench, attempt: int = 0, seed: int = 1) -> dict[str, Call]:
        """``score`` of every subject."""
        return {
            name: bench.once(
                f"score {name} {attempt} {seed}",
                lambda subject=subject: bench.call(  # type: ignore[misc]
                    hooks.score, [self.subject], self.chosen_params, seed=seed, subject=subject
                ),
            )
            for name, subject in self.rows(bench).items()
        }

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
            keys = [(item.metric, item.on) for item in call.value]
            twice = sorted({key for key in keys if keys.count(key) > 1})
            assert not twice, f"{name}: measured twice: {twice}"

    def test_directions_are_declared(self, bench: Bench) -> None:
        for name, item in self.measured(bench):
            known = item.higher_is_better is not None or item.metric in self.undirected
            assert known, f"{name}: {item.metric} says neither better high nor better low"

    def test_perfect_attack_scores_its_ideal(self, bench: Bench) -> None:
        found = {item.metric: item.value for item in self.calls(bench)["perfect attack"].value if item.on != "clean"}
        for metric, ideal in self.ideal.items():
            value = found.get(metric)
            right = value is not None and math.isclose(value, ideal, rel_tol=0, abs_tol=self.tolerance)
            assert right, f"{metric} of a perfect attack is {value}, expected {ideal}"
