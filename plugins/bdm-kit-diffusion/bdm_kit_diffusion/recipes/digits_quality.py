"""Measure a digits model as its card states it: ``python -m bdm_kit_diffusion.recipes.digits_quality [FOLDER]``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from bdm_kit_diffusion.data import load_digits
from bdm_kit_diffusion.features import load_classifier
from bdm_kit_diffusion.images import from_bytes, to_bytes
from bdm_kit_diffusion.models import DEFAULT_MODEL, load_model
from bdm_kit_diffusion.references import BUILTIN
from bdm_kit_diffusion.samplers import build_scheduler, default_steps
from bdm_kit_diffusion.sampling import draw_noise, sample


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """|m - n|^2 + tr(A + B - 2 (A B)^(1/2)) of two sets of features (N, D) and (M, D) (Heusel et al. 2017)."""
    one, other = one.double(), other.double()
    a, b = torch.cov(one.T), torch.cov(other.T)
    values, vectors = torch.linalg.eigh(a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    return float((one.mean(0) - other.mean(0)).square().sum() + a.trace() + b.trace() - 2 * cross)


def describe(images: Tensor, reference: Tensor) -> dict[str, float | list[int]]:
    """Distance of images to the digits in features and pixels, the classifier's confidence, and classes 0 to 9."""
    classifier = load_classifier()
    probabilities = classifier.logits(images).softmax(1)
    entropy = -(probabilities * probabilities.log()).sum(1)
    return {
        "frechet distance, features": round(frechet_distance(classifier.features(images), reference), 3),
        "frechet distance, pixels": round(frechet_distance(images.flatten(1), load_digits()[0].flatten(1)), 3),
        "mean confidence": round(probabilities.amax(1).mean().item(), 3),
        "confidence below 0.7": round((probabilities.amax(1) < 0.7).float().mean().item(), 3),
        "mean entropy, nats": round(entropy.mean().item(), 3),
        "images per class": torch.bincount(probabilities.argmax(1), minlength=10).tolist(),
    }


def main() -> None:
    """Print the measurements as JSON: of the digits themselves, of two samplers, and between halves of the digits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=BUILTIN / DEFAULT_MODEL)
    parser.add_argument("--samples", type=int, default=1024)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.folder)
    digits, _ = load_digits()
    features = load_classifier().features(digits)
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    halves = features[order[: len(order) // 2]], features[order[len(order) // 2 :]]
    report: dict[str, object] = {
        "digits": describe(digits, features),
        "frechet distance between halves of the digits": round(frechet_distance(*halves), 3),
    }
    noise = draw_noise(arguments.samples, model.shape, seed=0)
    for name in ("ddpm", "ddim"):
        steps = default_steps(name, model.timesteps)
        images = sample(model.unet, build_scheduler(name, model.scheduler), noise, steps=steps, seed=0)
        report[f"{name}, {steps} steps, {len(images)} samples"] = describe(from_bytes(to_bytes(images)), features)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
