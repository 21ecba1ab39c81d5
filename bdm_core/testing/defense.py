"""Conformance tests of defenses: what detects, purifies inputs, repairs."""

from __future__ import annotations

import inspect
import json
import math
import random
import typing
from typing import Any, ClassVar, cast

import pytest

from bdm_core.artifacts import Data, Evidence, Model, Outputs
from bdm_core.context import Context
from bdm_core.errors import BdmError
from bdm_core.hooks import implements
from bdm_core.plugin import Access, Defense
from bdm_core.records import Detection, Purified
from bdm_core.testing import contents
from bdm_core.testing.common import StageConformance
from bdm_core.testing.contents import Row, all_finite, count_of, mean_change, rows_of
from bdm_core.testing.illustrations import complaints
from bdm_core.testing.tiny import Bench, Call

JUDGING = ("detect", "purify_inputs", "repair")
GRANTED_BY = {"model": "weights", "data": "clean-data", "training_data": "training-data"}
"""Argument of a hook -> the access without which it is None."""


class DefenseConformance(StageConformance):
    """What every defense must satisfy, blind: it gets a clean model, clean rows and inputs, and never a secret.

    Of these it gets what its class declares under ``access``, and None for the rest.

    Attributes:
        max_change: how much a repair may change the clean model's outputs: mean absolute difference, in the outputs'
            own unit (images: [-1, 1]).
        needs_detection: True if ``repair`` refuses, with a clear error, to work without a detection.
    """

    kind = "defense"
    hooks_of_kind = (*JUDGING, "illustrate")
    one_of = JUDGING
    max_change: ClassVar[float] = 0.5
    needs_detection: ClassVar[bool] = False

    @property
    def subject(self) -> Defense:
        """An instance of the defense."""
        return cast(Defense, super().subject)

    def granted(self, bench: Bench, hook: str) -> dict[str, Any]:
        """Of the arguments ``model``, ``data`` and ``training_data`` those of a hook; None where access is missing."""
        given: dict[str, Any] = {
            "model": bench.model if self._grants(hook, "model") else None,
            "data": bench.shared if self._grants(hook, "data") else None,
        }
        if hook == "repair":
            given["training_data"] = self.training_data(bench) if self._grants(hook, "training_data") else None
        return given

    def _grants(self, hook: str, argument: str) -> bool:
        trains = (hook, argument) == ("repair", "model") and "training" in self.subject.access
        return trains or GRANTED_BY[argument] in self.subject.access

    def context(self, bench: Bench, hook: str, seed: int) -> Context | None:
        """A context that answers queries, with the access ``predictions``; else None for an ordinary one."""
        if "predictions" not in self.subject.access:
            return None
        return bench.asking(hook.replace("_", "-"), bench.model, seed)

    def training_data(self, bench: Bench, shuffle: int = 0) -> Data:
        """The training rows, roles hidden, in an order that ``shuffle`` decides."""
        rows = list(range(count_of(bench.data)))
        random.Random(shuffle).shuffle(rows)
        return bench.select([bench.data], rows)

    def mixture(self, bench: Bench, shuffle: int = 0) -> Data:
        """Inputs from two draws in an order that ``shuffle`` decides."""
        sources = [bench.inputs(), bench.inputs(seed=2)]
        rows = list(range(sum(count_of(source) for source in sources)))
        random.Random(shuffle).shuffle(rows)
        return bench.select(sources, rows)

    def suspects(self, bench: Bench, shuffle: int = 0) -> Data:
        """What ``detect`` judges: training rows at level ``data``, else inputs."""
        return self.training_data(bench, shuffle) if self.subject.level == "data" else self.mixture(bench, shuffle)

    def run(self, bench: Bench, hook: str, seed: int, **inputs: Any) -> Call:
        """One watched call of a hook with what it is granted."""
        inputs = {**self.granted(bench, hook), **inputs}
        ctx = self.context(bench, hook, seed)
        return bench.call(hook, [self.subject], self.chosen_params, ctx=ctx, seed=seed, **inputs)

    def detect(self, bench: Bench, attempt: int = 0, seed: int = 1, shuffle: int = 0) -> Call:
        """``detect`` on the clean model."""
        return bench.once(
            f"detect {attempt} {seed} {shuffle}",
            lambda: self.run(bench, "detect", seed, suspects=self.suspects(bench, shuffle)),
        )

    def purify(self, bench: Bench, attempt: int = 0, seed: int = 1, *, informed: bool = True) -> Call:
        """``purify_inputs`` on clean inputs: after this defense's own ``detect``, or without any detection."""

        def run() -> Call:
            detection = self.given_detection(bench) if informed else None
            return self.run(bench, "purify_inputs", seed, inputs=self.mixture(bench), detection=detection)

        return bench.once(f"purify {attempt} {seed} {informed}", run)

    def repair(self, bench: Bench, attempt: int = 0, seed: int = 1, *, informed: bool = True) -> Call:
        """``repair`` of the clean model: after this defense's own ``detect``, or without any detection."""

        def run() -> Call:
            return self.run(bench, "repair", seed, detection=self.given_detection(bench) if informed else None)

        return bench.once(f"repair {attempt} {seed} {informed}", run)

    def given_detection(self, bench: Bench) -> Detection | None:
        """What ``repair`` and ``purify_inputs`` are given: this defense's own finding.

        Override it if ``detect`` is another plugin's work.
        """
        return self.detection(bench)

    def calls(self, bench: Bench, attempt: int = 0, seed: int = 1) -> dict[str, Call]:
        """Detection, purification and repair, as far as implemented."""
        calls = {}
        if implements(self.subject, "detect"):
            calls["detect"] = self.detect(bench, attempt, seed)
        informed = "detect" in calls or self.needs_detection
        for hook, make in (("purify_inputs", self.purify), ("repair", self.repair)):
            if implements(self.subject, hook):
                calls[hook] = make(bench, attempt, seed, informed=informed)
                if not self.needs_detection:
                    calls[f"{hook} without detection"] = make(bench, attempt, seed, informed=False)
        return calls

    def detection(self, bench: Bench) -> Detection | None:
        """What ``detect`` says of the clean model; None if it is not implemented."""
        if not implements(self.subject, "detect"):
            return None
        value = self.detect(bench).value
        assert isinstance(value, Detection)
        return value

    def test_access(self) -> None:
        access = self.subject.access
        assert isinstance(access, frozenset), "access must be a frozenset"
        unknown = access - set(typing.get_args(Access))
        assert not unknown, f"there is no access {sorted(unknown)}; there are {', '.join(typing.get_args(Access))}"
        for hook in (name for name in JUDGING if implements(self.subject, name)):
            for argument in inspect.signature(getattr(self.subject, hook)).parameters:
                granted = argument not in GRANTED_BY or self._grants(hook, argument)
                assert granted, f"{hook} asks for {argument}, which is None without access {GRANTED_BY[argument]!r}"
        rows = self.subject.level == "data" and implements(self.subject, "detect")
        assert not rows or "training-data" in access, "a detector of level 'data' needs the access 'training-data'"

    def test_level(self, bench: Bench) -> None:
        assert self.subject.level in ("model", "input", "data"), f"level is {self.subject.level!r}"
        found = self.detection(bench)
        if found is not None:
            assert found.level == self.subject.level, (
                f"detect judged {found.level}, the class says {self.subject.level}"
            )

    def test_one_score_each(self, bench: Bench) -> None:
        found = self.detection(bench)
        if found is None:
            return
        wanted = 1 if found.level == "model" else count_of(self.suspects(bench))
        assert len(found.scores) == wanted, f"{len(found.scores)} scores for {wanted} at level {found.level}"

    def test_scores_are_finite(self, bench: Bench) -> None:
        found = self.detection(bench)
        if found is None:
            return
        assert all(math.isfinite(score) for score in found.scores), f"scores are {found.scores}"
        assert math.isfinite(found.threshold), f"threshold is {found.threshold}"
        assert found.p_value is None or 0 <= found.p_value <= 1, f"p-value is {found.p_value}"
        if not found.conclusive:
            assert found.note, "a detection that is not conclusive says why in its note"

    def test_detection_survives_json(self, bench: Bench) -> None:
        found = self.detection(bench)
        if found is None:
            return
        record = json.loads(found.model_dump_json())
        json.dumps(record, allow_nan=False)
        if found.evidence is not None:
            record["evidence"] = Evidence.open(found.evidence.path)
        assert Detection.model_validate(record) == found, "the detection changes when written as JSON and read again"

    def test_clean_samples_are_counted(self, bench: Bench) -> None:
        found = self.detection(bench)
        if found is not None:
            limit = count_of(bench.shared) if "clean-data" in self.subject.access else 0
            assert 0 <= found.clean_samples <= limit, f"{found.clean_samples} clean samples; it was given {limit}"

    def test_order_of_suspects_does_not_matter(self, bench: Bench) -> None:
        found = self.detection(bench)
        if found is None or found.level == "data":
            return
        other = self.detect(bench, shuffle=1).value
        if found.level == "model":
            assert other.scores == found.scores, "the score of the model depends on the order of the suspects"
            return
        orders = [rows_of(self.suspects(bench, shuffle)) for shuffle in (0, 1)]
        by_row = [
            {repr(row): score for row, score in zip(rows, result.scores, strict=True)}
            for rows, result in zip(orders, (found, other), strict=True)
        ]
        for row, score in by_row[0].items():
            assert self.same_score(score, by_row[1][row]), (
                "the score of a suspect depends on its place among the others"
            )

    def same_score(self, one: float, other: float) -> bool:
        """Whether two scores of one suspect, judged at different places, count as equal."""
        return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-4)

    def test_evidence_is_illustrated(self, bench: Bench) -> None:
        found = self.detection(bench)
        if found is None or found.evidence is None or not implements(self.subject, "illustrate"):
            return
        wrong = complaints(bench.call("illustrate", [self.subject], artifact=found.evidence), found.evidence)
        assert not wrong, f"illustrate: {'; '.join(wrong)}"

    def purified(self, bench: Bench) -> dict[str, Purified]:
        """Every answer of ``purify_inputs``, by name."""
        return {name: call.value for name, call in self.calls(bench).items() if isinstance(call.value, Purified)}

    def test_purified_inputs_keep_their_rows(self, bench: Bench) -> None:
        before = self.mixture(bench)
        for name, made in self.purified(bench).items():
            count = count_of(made.inputs)
            assert count == count_of(before), f"{name}: {count} rows for {count_of(before)} inputs; keep rejected ones"
            swapped = self.swapped(rows_of(before), rows_of(made.inputs))
            assert swapped is None, f"{name}: rows {swapped[0]} and {swapped[1]} look swapped: the order must be kept"

    def test_rejections_are_flagged(self, bench: Bench) -> None:
        for name, made in self.purified(bench).items():
            count = count_of(self.mixture(bench))
            assert len(made.rejected) == count, f"{name}: {len(made.rejected)} flags for {count} inputs"
            assert not all(made.rejected), f"{name}: every one of {count} clean inputs is rejected"

    def swapped(self, before: list[Row], after: list[Row]) -> tuple[int, int] | None:
        """Two places whose purified rows fit better to each other's input, or None.

        See :func:`bdm_core.testing.contents.swapped`. Override it if purification replaces most of an input.
        """
        return contents.swapped(before, after)

    def test_repair_returns_a_model_like_the_given_one(self, bench: Bench) -> None:
        for name, call in self.calls(bench).items():
            if not isinstance(call.value, Model):
                continue
            assert call.value.format == bench.model.format, f"{name} changed the format to {call.value.format!r}"
            assert call.value.task == bench.model.task, f"{name} changed the task to {call.value.task!r}"

    def test_missing_detection_is_refused_clearly(self, bench: Bench) -> None:
        if not (self.needs_detection and implements(self.subject, "repair")):
            return
        with pytest.raises(BdmError) as caught:
            self.repair(bench, informed=False)
        assert "\n" not in str(caught.value), "an error for the user is one line"

    def test_repair_keeps_a_clean_model_working(self, bench: Bench) -> None:
        before = bench.generate(bench.model, bench.inputs())
        for name, call in self.calls(bench).items():
            if isinstance(call.value, Model):
                after = bench.generate(call.value, bench.inputs())
                assert count_of(after) == count_of(before), (
                    f"{name}: {count_of(after)} outputs, {count_of(before)} before"
                )
                assert all_finite(after), f"{name}: the outputs of the repaired model are not finite"
                self.check_use(before, after)

    def check_use(self, before: Outputs, after: Outputs) -> None:
        """The repaired model is still of use: its outputs from the same inputs have the same shape and are near."""
        change = mean_change(before, after)
        assert change <= self.max_change, f"repair changed the outputs of a clean model by {change:.3g} on average"
