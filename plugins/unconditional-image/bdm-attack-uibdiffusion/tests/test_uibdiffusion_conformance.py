"""Conformance of ``attack:uibdiffusion``."""

from bdm_core.testing import AttackConformance


class TestUIBDiffusion(AttackConformance):
    plugin = "uibdiffusion"
    params = {"steps": 4, "batch_size": 8, "poison_rate": 0.25, "generator_steps": 3, "generator_batch_size": 8}
