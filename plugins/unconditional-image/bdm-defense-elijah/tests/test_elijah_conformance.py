"""Elijah as a plugin."""

from bdm_core.testing import DefenseConformance

FAST = {
    "starts": "published",
    "inversion_steps": [3, 2],
    "screening_steps": 1,
    "screening_batch": 2,
    "noise_batch": 4,
    "samples": 8,
    "steps": 2,
    "batch_size": 4,
    "trigger_batch": 2,
}


class TestElijah(DefenseConformance):
    plugin = "elijah"
    task = "unconditional-image-generation"
    params = FAST


class TestElijahAsPublished(DefenseConformance):
    plugin = "elijah"
    task = "unconditional-image-generation"
    params = {**FAST, "anchors": "published", "antithetic": False, "removal_data": "generated"}
