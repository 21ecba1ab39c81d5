"""Conformance of ``defense:terd`` of the task text-to-image."""

from bdm_core.testing import DefenseConformance


class TestTerdTextToImage(DefenseConformance):
    plugin = "terd"
    task = "text-to-image"
