"""Conformance of ``defense:amdet``, with a clean reference and without."""

from bdm_core.testing import DefenseConformance


class TestAmdet(DefenseConformance):
    plugin = "amdet"


class TestAmdetWithoutReference(DefenseConformance):
    plugin = "amdet"
    params = {"reference": ""}
