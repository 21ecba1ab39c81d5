"""Conformance of ``defense:elijah`` of the task text-to-image."""

from bdm_core.testing import DefenseConformance


class TestElijahTextToImage(DefenseConformance):
    plugin = "elijah"
    task = "text-to-image"
