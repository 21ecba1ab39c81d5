"""Conformance of ``attack:paas``."""

from bdm_core.testing import AttackConformance


class TestTextualInversion(AttackConformance):
    plugin = "paas"
    rate_parameter = None
    params = {"steps": 4, "batch_size": 4, "target_object": "diamond", "images": 2}


class TestDreamBooth(AttackConformance):
    plugin = "paas"
    rate_parameter = None
    params = {"mode": "dreambooth", "steps": 4, "batch_size": 4, "target_object": "diamond", "images": 2}
