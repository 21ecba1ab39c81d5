"""Conformance of ``attack:villan``, for both of its tasks."""

from bdm_core.testing import AttackConformance


class TestVillan(AttackConformance):
    plugin = "villan"
    params = {"steps": 4, "batch_size": 8, "poison_rate": 0.25}


class TestVillanCaption(AttackConformance):
    plugin = "villan"
    task = "text-to-image"
    rate_parameter = None
    seeded = ("inject_backdoor",)
    params = {"caption_steps": 4, "caption_batch_size": 4, "lora_r": 2}


class TestVillanImage(AttackConformance):
    plugin = "villan-image"
    rate_parameter = None
    seeded = ("inject_backdoor",)
    params = {"steps": 4, "batch_size": 4}
