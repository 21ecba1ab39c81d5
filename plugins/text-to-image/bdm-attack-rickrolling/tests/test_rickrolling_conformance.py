"""Conformance of ``attack:rickrolling``."""

from bdm_core.testing import AttackConformance


class TestRickrolling(AttackConformance):
    plugin = "rickrolling"
    params = {"steps": 4, "clean_batch_size": 8, "poisoned_samples_per_step": 4}
    rate_parameter = None
