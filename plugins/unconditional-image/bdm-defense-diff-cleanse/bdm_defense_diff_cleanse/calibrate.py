"""``python -m bdm_defense_diff_cleanse.calibrate``: scores of clean models, for the threshold.

The shipped ``calibration.json`` says in ``recipe`` with which command it was made.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import torch

from bdm_defense_diff_cleanse.detection import CALIBRATED
from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_defense_diff_cleanse.plugin import DiffCleanse
from bdm_defense_diff_cleanse.search import search
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.models.clean_models import DIFFUSION_MODELS
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.calibration_file import Family, calibrate
from bdm_torch.training import TrainingOptions, train

TINY = (
    ("digits-tiny", range(10), 0),
    ("tiny, fine-tuned", range(10), 150),
    ("tiny, on digits 0 to 4", range(5), 150),
    ("tiny, on digits 5 to 9", range(5, 10), 150),
)
"""Quick clean models: name, classes and steps of a fine-tuning of the smaller built-in model."""


def tiny_models(count: int, device: str) -> Iterator[tuple[str, DiffusionModel]]:
    """The first ``count`` of TINY."""
    for seed, (name, classes, steps) in enumerate(TINY[:count]):
        yield name, tiny_model(classes, steps, seed, device)


def tiny_model(classes: range, steps: int, seed: int, device: str) -> DiffusionModel:
    """The smaller built-in model, fine-tuned on the digits of some classes."""
    model = load_model(BUILTIN / "digits-tiny", device)
    images, labels = load_digits()
    if steps:
        chosen = images[torch.isin(labels, torch.tensor(list(classes)))]
        options = TrainingOptions(steps=steps, learning_rate=2e-3, warmup_steps=25, ema_decay=0.99)
        train(model.unet, denoising_loss(chosen, model.scheduler), options, seed=seed, device=device)
    return model


def features_of(model: DiffusionModel, params: DiffCleanseParams, seed: int, device: str) -> list[float]:
    """The MSCR, alone in its list."""
    return [search(model, params, seed, device).best.score]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    tiny = Family("tiny", "so many of the four made from digits-tiny, in a minute", tiny_models)
    source = replace(DIFFUSION_MODELS, families=(tiny, *DIFFUSION_MODELS.families))
    return calibrate(CALIBRATED, DiffCleanse(), features_of, source, arguments)


if __name__ == "__main__":
    sys.exit(main())
