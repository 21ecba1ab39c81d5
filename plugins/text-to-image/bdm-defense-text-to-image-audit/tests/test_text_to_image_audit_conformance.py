"""Conformance of ``defense:text-to-image-audit``."""

from bdm_core.testing import DefenseConformance


class TestTextToImageAudit(DefenseConformance):
    plugin = "text-to-image-audit"
    needs_detection = True
    max_change = 0.3
