"""Conformance of ``defense:temporal-noise``."""

from bdm_core.testing import DefenseConformance


class TestTemporalNoise(DefenseConformance):
    plugin = "temporal-noise"
