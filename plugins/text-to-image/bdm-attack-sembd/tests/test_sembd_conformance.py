"""Conformance of ``attack:sembd``."""

from bdm_core.testing import AttackConformance


class TestSemBD(AttackConformance):
    plugin = "sembd"
    params = {"preserved_captions": 4, "paraphrases": 3, "held_out": 4}
    rate_parameter = None
