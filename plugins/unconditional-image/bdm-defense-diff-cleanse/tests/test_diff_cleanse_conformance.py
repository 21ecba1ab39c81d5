"""Conformance of ``defense:diff-cleanse``."""

from bdm_core.testing import DefenseConformance


class TestDiffCleanse(DefenseConformance):
    plugin = "diff-cleanse"
    params = {
        "starts": "published",
        "samplers": ["ddim"],
        "epochs": [1],
        "candidates": 1,
        "samples": 6,
        "sampling_steps": 4,
        "importance_batches": 1,
        "steps": 2,
        "batch_size": 4,
    }
