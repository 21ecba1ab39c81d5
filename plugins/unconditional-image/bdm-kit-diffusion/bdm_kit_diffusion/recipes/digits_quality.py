"""Measure a digits model as its card states it: ``python -m bdm_kit_diffusion.recipes.digits_quality [FOLDER]``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from bdm_diffusers.samplers import build_scheduler, default_steps, plain_sampler
from bdm_diffusers.sampling import draw_noise, sample
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.catalogue import DEFAULT_MODEL
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.data.classifiers import BUILTIN_CLASSIFIER
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_torch.features import ImageClassifier, load_classifier
from bdm_torch.images import from_bytes, to_bytes


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """|m - n|^2 + tr(A + B - 2 (A B)^(1/2)) of two sets of features (N, D) and (M, D) (Heusel et al. 2017)."""
    one, other = one.double(), other.double()
    a, b = torch.cov(one.T), torch.cov(other.T)
    values, vectors = torch.linalg.eigh(a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    return float((one.mean(0) - other.mean(0)).square().sum() + a.trace() + b.trace() - 2 * cross)


def describe(images: Tensor, reference: Tensor, classifier: ImageClassifier) -> dict[str, float | list[int]]:
    """Distance of images to the reference images in features and pixels, the classifier's confidence, its classes."""
    probabilities = classifier.logits(images).softmax(1)
    entropy = -(probabilities * probabilities.log()).sum(1)
    distance = frechet_distance(classifier.features(images), classifier.features(reference))
    return {
        "frechet distance, features": round(distance, 3),
        "frechet distance, pixels": round(frechet_distance(images.flatten(1), reference.flatten(1)), 3),
        "mean confidence": round(probabilities.amax(1).mean().item(), 3),
        "confidence below 0.7": round((probabilities.amax(1) < 0.7).float().mean().item(), 3),
        "mean entropy, nats": round(entropy.mean().item(), 3),
        "images per class": torch.bincount(probabilities.argmax(1), minlength=probabilities.shape[1]).tolist(),
    }


def print_report(folder: Path, name: str, reference: Tensor, classifier: ImageClassifier, samples: int) -> None:
    """Print the measurements of a model as JSON: of its training images, between halves of them, of each solver class.

    Args:
        folder: the model's.
        name: of the training images.
        reference: the training images, (N, C, H, W) in [-1, 1].
        classifier: the feature space.
        samples: images to generate with each sampler.
    """
    model = load_model(folder)
    features = classifier.features(reference)
    order = torch.randperm(len(reference), generator=torch.Generator().manual_seed(0))
    halves = features[order[: len(order) // 2]], features[order[len(order) // 2 :]]
    report: dict[str, object] = {
        name: describe(reference, reference, classifier),
        f"frechet distance between halves of the {name}": round(frechet_distance(*halves), 3),
    }
    noise = draw_noise(samples, model.shape, seed=0)
    ancestral, deterministic = (plain_sampler(model.scheduler, solver) for solver in ("sde", "ode"))
    corrected = [(ancestral, 1)] if model.variance_exploding else []
    for sampler, corrections in [(ancestral, 0), *corrected, (deterministic, 0)]:
        steps = default_steps(sampler, model.timesteps)
        scheduler = build_scheduler(sampler, model.scheduler, corrector_steps=corrections)
        images = model.decode(sample(model.unet, scheduler, noise, steps=steps, seed=0))
        extra = ", with corrector" if corrections else ""
        report[f"{sampler}{extra}, {steps} steps, {samples} samples"] = describe(
            from_bytes(to_bytes(images)), reference, classifier
        )
    print(json.dumps(report, indent=2))


def main() -> None:
    """Print the measurements as JSON: of the digits themselves, of two samplers, and between halves of the digits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=BUILTIN / DEFAULT_MODEL)
    parser.add_argument("--samples", type=int, default=1024)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print_report(arguments.folder, "digits", load_digits()[0], load_classifier(BUILTIN_CLASSIFIER), arguments.samples)


if __name__ == "__main__":
    main()
