"""Conformance of ``attack:villan`` on the initial noise."""

from bdm_core.testing import AttackConformance


class TestVillan(AttackConformance):
    plugin = "bdm-attack-villan:villan"
    params = {"steps": 4, "batch_size": 8, "poison_rate": 0.25}
