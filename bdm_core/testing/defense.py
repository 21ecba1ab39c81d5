"""Conformance tests of defenses: detectors, repairers, or both."""

from __future__ import annotations

import json
import math
import random
from typing import ClassVar

import pytest

from bdm_core import hooks
from bdm_core.artifacts import Data, Detection, Evidence, Model, Outputs
from bdm_core.errors import BdmError
from bdm_core.hooks import implements
from bdm_core.testing.common import StageConformance
from bdm_core.testing.contents import all_finite, count_of, mean_change, rows_of
from bdm_core.testing.tiny import Bench, Call


class DefenseConformance(StageConformance):
    """What every defense must satisfy, blind: it gets a clean model, clean data and inputs, and never a secret.

    Attributes:
        max_change: how much a repair may change the clean model's outputs: mean absolute difference, in the outputs'
            own unit (images: [-1, 1]).
        needs_detection: True if ``repair`` refuses, with a clear error, to work without a detection.
    """

    kind = "defense"
    hooks_of_kind = ("detect", "repair")
    one_of = ("detect", "repair")
    max_change: ClassVar[float] = 0.5
    needs_detection: ClassVar[bool] = False

    def suspects(self, bench: Bench, shuffle: int = 0) -> Data:
        """Inputs from two draws in an order that ``shuffle`` decides."""
        first, second = bench.inputs(), bench.inputs(seed=2)
        order = list(range(count_of(first) + count_of(second)))
        random.Random(shuffle).shuffle(order)
        return bench.mixed(first, second, order)

    def detect(self, bench: Bench, attempt: int = 0, seed: int = 1, shuffle: int = 0) -> Call:
        """``detect`` on the clean model."""
        return bench.once(
            f"detect {attempt} {seed} {shuffle}",
            lambda: bench.call(
                hooks.detect,
                [self.subject],
                self.chosen_params,
                seed=seed,
                model=bench.model,
                data=bench.shared,
                suspects=self.suspects(bench, shuffle),
            ),
        )

    def repair(self, bench: Bench, attempt: int = 0, seed: int = 1, *, informed: bool = True) -> Call:
        """``repair`` of the clean model: after this defense's own ``detect``, or without any detection."""

        def run() -> Call:
            detection = self.given_detection(bench) if informed else None
            return bench.call(
                hooks.repair,
                [self.subject],
                self.chosen_params,
                seed=seed,
                model=bench.model,
                data=bench.shared,
                detection=detection,
            )

        return bench.once(f"repair {attempt} {seed} {informed}", run)

    def given_detection(self, bench: Bench) -> Detection | None:
        """What ``repair`` is given: this defense's own finding. Override it if ``detect`` is another plugin's work."""
        return self.detection(bench)

    def calls(self, bench: Bench, attempt: int = 0, seed: int = 1) -> dict[str, Call]:
        """Detection and repair, as far as implemented."""
        calls = {}
        if implements(self.subject, "detect"):
            calls["detect"] = self.detect(bench, attempt, seed)
        if implements(self.subject, "repair"):
            calls["repair"] = self.repair(bench, attempt, seed, informed="detect" in calls or self.needs_detection)
            if not self.needs_detection:
                calls["repair without detection"] = self.repair(bench, attempt, seed, informed=False)
        return calls

    def detection(self, bench: Bench) -> Detection | None:
        """What ``detect`` says of the clean model; None if it is not implemented."""
        if not implements(self.subject, "detect"):
            return None
        value = self.detect(bench).value
        assert isinstance(value, Detection)
        return value

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
        wanted = {"model": 1, "input": count_of(self.suspects(bench)), "data": count_of(bench.shared)}[found.level]
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
            limit = count_of(bench.shared)
            assert 0 <= found.clean_samples <= limit, f"{found.clean_samples} clean samples; the data have {limit}"

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
