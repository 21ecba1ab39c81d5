"""Conformance of ``defense:stedf``."""

from bdm_core.testing import DefenseConformance


class TestStedf(DefenseConformance):
    plugin = "stedf"
