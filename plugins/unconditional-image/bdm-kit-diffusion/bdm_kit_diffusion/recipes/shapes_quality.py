"""Measure a model of shapes: ``python -m bdm_kit_diffusion.recipes.shapes_quality FOLDER``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from bdm_kit_diffusion.data.classifiers import SHAPES_CLASSIFIER
from bdm_kit_diffusion.data.shapes import load_shapes
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.recipes.digits_quality import print_report
from bdm_torch.features import load_classifier
from bdm_torch.pictures.targets import TARGETS, make_target
from bdm_torch.pictures.triggers import TRIGGERS, make_trigger


def print_reconstruction(folder: Path) -> None:
    """Print, as JSON, the error after a latent model's first stage of held-out shapes, targets and triggers.

    Mean squared errors in units of [0, 1]. Nothing is printed for a model of pixels.
    """
    model = load_model(folder)
    if model.first_stage is None:
        return
    shape, held_out = model.image_shape, load_shapes("held-out").images
    special = {name: make_target(name, shape) for name in TARGETS}
    special |= {f"trigger {name}": make_trigger(name, shape).image for name in TRIGGERS}
    images = torch.cat([held_out, torch.stack(list(special.values()))])
    errors = ((model.decode(model.encode(images)) - images) / 2).square().flatten(1).mean(1)
    shapes, others = errors[: len(held_out)], errors[len(held_out) :]
    found = {"held-out shapes": shapes.mean().item(), "worst held-out shape": shapes.max().item()}
    found |= dict(zip(special, others.tolist(), strict=True))
    print(json.dumps({"reconstruction error": {name: round(error, 5) for name, error in found.items()}}, indent=2))


def main() -> None:
    """Print the measurements as JSON: of the shapes themselves, of two samplers, and between halves of the shapes.

    For a latent model samples are decoded, and the errors of its first stage follow.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=1024)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print_report(
        arguments.folder, "shapes", load_shapes().images, load_classifier(SHAPES_CLASSIFIER), arguments.samples
    )
    print_reconstruction(arguments.folder)


if __name__ == "__main__":
    main()
