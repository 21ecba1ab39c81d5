"""Conformance of ``attack:badt2i``."""

from bdm_core.testing import AttackConformance


class TestBadT2I(AttackConformance):
    plugin = "badt2i"
    params = {"mode": "style", "steps": 4, "batch_size": 4}
    rate_parameter = None
