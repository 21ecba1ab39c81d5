"""The objective by NumPy, and masks that shrink to the pixels that matter."""

from __future__ import annotations

import numpy as np
import torch

from bdm_defense_cognitive_distillation.masks import distil, objective
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.testing import RowDetectorConformance
from bdm_kit_classification.testing.separation import separation

DARK_CORNER = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


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


def test_rows_with_a_trigger_are_found_and_shuffled_flags_are_not() -> None:
    """A model for which a dark corner of 2x2 pixels is all that counts; without it, the light of each quarter."""

    def model(x: torch.Tensor) -> torch.Tensor:
        quarters = 12 * torch.nn.functional.avg_pool2d(x, 5).flatten(1)
        corner = (x[:, 0, -2:, -2:] - DARK_CORNER).abs().flatten(1).mean(1, keepdim=True)
        taken = torch.sigmoid(40 * (0.2 - corner))
        return taken * torch.tensor([10.0, 0, 0, 0]) + (1 - taken) * quarters

    def scores(count: int, poisoned: torch.Tensor, seed: int) -> torch.Tensor:
        pictures = uniform(count, 1, 10, 10, seed=seed)
        pictures[poisoned, :, -2:, -2:] = DARK_CORNER
        generator = torch.Generator().manual_seed(seed)
        masks = distil(model, pictures, steps=60, learning_rate=0.1, alpha=0.01, beta=1.0, generator=generator)
        return -masks.flatten(1).mean(1)

    poisoned = torch.arange(300) % 10 == 0
    found = scores(300, poisoned, 0)
    judged = judged_rows("data", found, scores(100, torch.zeros(100, dtype=torch.bool), 1), 0.01)
    reached = separation(found > judged.threshold, poisoned)
    assert reached.f1 > 0.9 > 0.3 > reached.shuffled
