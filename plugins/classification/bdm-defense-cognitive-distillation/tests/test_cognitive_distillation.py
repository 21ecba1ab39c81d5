"""The objective by NumPy, and masks that shrink to the pixels that matter."""

from __future__ import annotations

import numpy as np
import torch

from bdm_defense_cognitive_distillation.masks import distil, objective
from bdm_kit_classification.testing import RowDetectorConformance


class TestCognitiveDistillation(RowDetectorConformance):
    plugin = "cognitive-distillation"


class TestOnFeatures(RowDetectorConformance):
    """The rule as released, too."""

    plugin = "cognitive-distillation"
    params = {"epochs": 1, "batch_size": 10, "mask_steps": 2, "output": "features", "rule": "deviation"}


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_objective_follows_its_definition() -> None:
    output, wanted, masks = uniform(3, 5), uniform(3, 5, seed=1), uniform(3, 1, 4, 6, seed=2)
    values = masks.numpy()[:, 0]
    variation = np.square(np.diff(values, axis=1)).mean((1, 2)) + np.square(np.diff(values, axis=2)).mean((1, 2))
    distance = np.abs(output.numpy() - wanted.numpy()).mean(1)
    expected = distance + 0.3 * values.sum((1, 2)) + 7 * variation
    np.testing.assert_allclose(objective(output, wanted, masks, 0.3, 7).numpy(), expected, rtol=1e-5)


def test_the_mask_keeps_what_the_model_looks_at() -> None:
    """One model looks at a corner of 3x3 pixels, the other at the whole picture."""
    pictures = uniform(8, 1, 10, 10)

    def masks(size: int) -> torch.Tensor:
        def model(x: torch.Tensor) -> torch.Tensor:
            return 20 * x[:, 0, :size, :size].flatten(1)

        generator = torch.Generator().manual_seed(1)
        return distil(model, pictures, steps=80, learning_rate=0.1, alpha=0.02, beta=0.0, generator=generator)

    small, large = masks(3), masks(10)
    assert float(small[:, :, :3, :3].mean()) > 0.8 > 0.2 > float(small[:, :, 4:, 4:].mean())
    assert float(small.flatten(1).mean(1).max()) < 0.5 * float(large.flatten(1).mean(1).min())
