"""Conformance of ``defense:reference-audit``."""

from bdm_core.testing import DefenseConformance


class TestReferenceAudit(DefenseConformance):
    plugin = "reference-audit"
    params = {
        "noise_images": 32,
        "dispersions": [2.0],
        "levels": [1.0],
        "norms": [1.0],
        "screening_steps": [2, 2],
        "candidates": 1,
        "climbs": [[1.0, 0.5]],
        "climbing_steps": 2,
        "refinement_steps": 1,
        "refinement_chain": 2,
        "samples": 8,
        "steps": 2,
        "batch_size": 4,
    }
