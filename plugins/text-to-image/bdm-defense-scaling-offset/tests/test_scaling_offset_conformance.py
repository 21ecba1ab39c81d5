"""Conformance of ``defense:scaling-offset``."""

from bdm_core.testing import DefenseConformance


class TestScalingOffset(DefenseConformance):
    plugin = "scaling-offset"
