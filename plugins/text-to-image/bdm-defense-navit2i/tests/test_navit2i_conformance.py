"""Conformance of ``defense:navit2i``."""

from bdm_core.testing import DefenseConformance


class TestNaviT2I(DefenseConformance):
    plugin = "navit2i"
