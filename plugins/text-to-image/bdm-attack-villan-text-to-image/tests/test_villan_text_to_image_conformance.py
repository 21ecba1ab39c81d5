"""Conformance of ``attack:villan`` on captions and of ``attack:villan-image``."""

from bdm_core.testing import AttackConformance


class TestVillanCaption(AttackConformance):
    plugin = "bdm-attack-villan-text-to-image:villan"
    rate_parameter = None
    seeded = ("inject_backdoor",)
    params = {"steps": 4, "batch_size": 4, "lora_r": 2}


class TestVillanImage(AttackConformance):
    plugin = "villan-image"
    rate_parameter = None
    seeded = ("inject_backdoor",)
    params = {"steps": 4, "batch_size": 4}
