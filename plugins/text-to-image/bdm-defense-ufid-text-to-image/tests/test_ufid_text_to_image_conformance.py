"""Conformance of ``defense:ufid`` of the task text-to-image."""

from bdm_core.testing import DefenseConformance


class TestUfid(DefenseConformance):
    plugin = "ufid"
    task = "text-to-image"
