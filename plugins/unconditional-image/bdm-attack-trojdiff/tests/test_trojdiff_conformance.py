"""Conformance of ``attack:trojdiff``."""

from bdm_core.testing import AttackConformance


class TestTrojdiff(AttackConformance):
    plugin = "trojdiff"
    params = {"steps": 4, "batch_size": 8, "poison_rate": 0.25}
