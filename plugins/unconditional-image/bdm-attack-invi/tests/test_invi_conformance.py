"""Conformance of ``attack:invi``."""

from bdm_core.testing import AttackConformance

FAST = {"steps": 4, "batch_size": 8, "poison_rate": 0.25, "inner_batch_size": 2, "inner_steps": 2}


class TestInvi(AttackConformance):
    plugin = "invi"
    params = FAST
