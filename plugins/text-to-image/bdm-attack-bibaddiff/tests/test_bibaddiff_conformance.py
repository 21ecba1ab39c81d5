"""Conformance of ``attack:bibaddiff`` and ``metric:amplification``."""

from bdm_core.testing import AttackConformance, MetricConformance


class TestBiBadDiff(AttackConformance):
    plugin = "bibaddiff"
    params = {"steps": 4, "batch_size": 4, "poison_rate": 0.25, "trigger": "blend"}


class TestAmplification(MetricConformance):
    plugin = "amplification"
    ideal = {"trigger": 1.0}
