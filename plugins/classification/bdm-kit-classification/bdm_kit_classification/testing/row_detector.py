"""Conformance tests of detectors of training rows, beside those of all defenses of classifiers."""

from __future__ import annotations

from bdm_kit_classification.testing.defense import ClassifierDefenseConformance


class RowDetectorConformance(ClassifierDefenseConformance):
    """Of detectors of training rows: their repair needs a detection, and trains from scratch."""

    needs_detection = True
    max_change = 100.0

    def test_a_filter_of_rows_needs_no_more(self) -> None:
        access = self.subject.access
        assert self.subject.level == "data" and {"weights", "training-data"} <= access
        assert access <= {"weights", "training-data", "clean-data"}, f"a filter of rows asks for {sorted(access)}"
