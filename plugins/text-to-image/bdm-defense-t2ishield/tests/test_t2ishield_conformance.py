"""Conformance of ``defense:t2ishield``."""

from bdm_core.testing import DefenseConformance


class TestT2IShield(DefenseConformance):
    plugin = "t2ishield"
