"""Conformance of ``defense:t2ishield``."""

from bdm_core.testing import DefenseConformance


class TestT2IShield(DefenseConformance):
    plugin = "t2ishield"
    needs_detection = True


class TestT2IShieldUnderWordNoise(DefenseConformance):
    plugin = "t2ishield"
    params = {"word_noise": 0.5, "method": "cda", "localise": False, "triggers": ["nice circle", "sks"]}
