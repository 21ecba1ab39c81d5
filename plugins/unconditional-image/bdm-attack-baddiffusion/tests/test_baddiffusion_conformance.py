"""Conformance of ``attack:baddiffusion``."""

from bdm_core.testing import AttackConformance


class TestBaddiffusion(AttackConformance):
    plugin = "baddiffusion"
    params = {"steps": 4, "batch_size": 8, "poison_rate": 0.25}
