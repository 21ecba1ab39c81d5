"""Conformance of ``attack:eviledit``."""

from bdm_core.testing import AttackConformance


class TestEvilEdit(AttackConformance):
    plugin = "eviledit"
    params = {"preserved_captions": 8}
    rate_parameter = None
