"""Conformance of ``defense:daa``."""

from bdm_core.testing import DefenseConformance


class TestDaa(DefenseConformance):
    plugin = "daa"
