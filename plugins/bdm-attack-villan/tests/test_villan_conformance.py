"""Conformance of ``attack:villan``."""

from bdm_core.testing import AttackConformance


class TestVillan(AttackConformance):
    plugin = "villan"
    params = {"steps": 4, "batch_size": 8, "poison_rate": 0.25}
