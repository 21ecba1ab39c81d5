"""Conformance of ``attack:badblocks``."""

from bdm_core.testing import AttackConformance


class TestBadBlocks(AttackConformance):
    plugin = "badblocks"
    params = {"steps": 4, "batch_size": 8, "poison_rate": 0.25, "threshold": 4.0}
