"""Measure a model of shapes: ``python -m bdm_kit_diffusion.recipes.shapes_quality FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from bdm_kit_diffusion.features import SHAPES_CLASSIFIER, load_classifier
from bdm_kit_diffusion.recipes.digits_quality import print_report
from bdm_kit_diffusion.shapes import load_shapes


def main() -> None:
    """Print the measurements as JSON: of the shapes themselves, of two samplers, and between halves of the shapes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=1024)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print_report(
        arguments.folder, "shapes", load_shapes().images, load_classifier(SHAPES_CLASSIFIER), arguments.samples
    )


if __name__ == "__main__":
    main()
