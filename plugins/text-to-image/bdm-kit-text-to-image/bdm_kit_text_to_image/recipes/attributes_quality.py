"""Measure the attribute classifier: ``python -m bdm_kit_text_to_image.recipes.attributes_quality [FOLDER]``.

Accuracy of each head on held-out scenes, where the attribute can be seen: of all kinds, of style photo, disturbed, and
after the shipped pipeline's autoencoder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from bdm_kit_text_to_image.built_in import BUILTIN
from bdm_kit_text_to_image.judging.attributes import BUILTIN_ATTRIBUTES, AttributeClassifier, load_attribute_classifier
from bdm_kit_text_to_image.models.latents import decode_latents, encode_images
from bdm_kit_text_to_image.models.opening import DEFAULT_MODEL
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.recipes.attributes import (
    HELD_OUT_SEED,
    PATCH,
    accuracies,
    disturb,
    labelled_scenes,
    put_patches,
)


def quality(classifier: AttributeClassifier, count: int = 4000) -> dict[str, dict[str, float]]:
    """Accuracy of each head on ``count`` scenes, by the kind of pictures."""
    images, indices = labelled_scenes(count, HELD_OUT_SEED)
    found = {"held-out scenes": accuracies(classifier, images, indices)}
    for number, style in enumerate(classifier.head_values["style"]):
        keep = (indices["style"] == number).tolist()
        found[f"of style {style}"] = accuracies(classifier, images, indices, keep)
    generator = torch.Generator().manual_seed(1)
    patched, patches = put_patches(images, generator, 0.2)
    found["disturbed, a patch in a fifth"] = accuracies(
        classifier, disturb(patched, generator), indices | {PATCH: patches}
    )
    model = load_model(BUILTIN / DEFAULT_MODEL)
    with torch.no_grad():
        decoded = decode_latents(model, encode_images(model, patched))
    found["after the autoencoder, a patch in a fifth"] = accuracies(classifier, decoded, indices | {PATCH: patches})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=BUILTIN_ATTRIBUTES)
    arguments = parser.parse_args()
    for title, values in quality(load_attribute_classifier(folder=arguments.folder)).items():
        print(f"{title}:", " ".join(f"{name} {value:.4f}" for name, value in values.items() if value == value))


if __name__ == "__main__":
    main()
