"""Conformance of ``defense:prompt-audit``, without and with a reference."""

from bdm_core.testing import DefenseConformance


class TestPromptAudit(DefenseConformance):
    plugin = "prompt-audit"


class TestPromptAuditWithReference(DefenseConformance):
    plugin = "prompt-audit"
    params = {"clean_prompts": 12, "reference": "tiny", "mismatch_steps": 0}
