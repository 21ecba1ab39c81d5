"""TERD as two plugins: of models and of inputs."""

from bdm_core.testing import DefenseConformance

FAST = {
    "starts": ["-U(0,1)"],
    "estimation_steps": 2,
    "refinement_steps": 1,
    "pairs": 1,
    "refinement_pairs": 1,
    "chain": 2,
    "evaluation_pairs": 8,
    "samples": 8,
    "steps": 2,
    "batch_size": 4,
    "trigger_batch": 2,
}


class TestTerd(DefenseConformance):
    plugin = "terd"
    task = "unconditional-image-generation"
    params = FAST


class TestTerdInput(DefenseConformance):
    plugin = "terd-input"
    params = FAST


class TestStartAlone(DefenseConformance):
    plugin = "terd-input"
    params = {**FAST, "judge": "start"}


class TestMeanPixel(DefenseConformance):
    plugin = "terd-input"
    params = {**FAST, "judge": "mean-pixel"}
