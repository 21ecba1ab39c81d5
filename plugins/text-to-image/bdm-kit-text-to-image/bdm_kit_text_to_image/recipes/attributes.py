"""Train the shipped attribute classifier: ``python -m bdm_kit_text_to_image.recipes.attributes [FOLDER]``.

Same machine, same versions, same arguments: the same bytes.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bdm_kit_text_to_image.judging.attributes import (
    BUILTIN_ATTRIBUTES,
    NONE,
    SECOND_COLOUR,
    SECOND_OBJECT,
    AttributeClassifier,
    save_attribute_classifier,
)
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.factors import BACKGROUNDS, COLOURS, COUNTS, OBJECTS, PERSONAL, STYLES
from bdm_kit_text_to_image.world.scene import Scene, draw_scenes

PATCH = "patch"
CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")
HEADS: dict[str, tuple[str, ...]] = {
    "object": (*OBJECTS, PERSONAL),
    "colour": tuple(COLOURS),
    "background": tuple(BACKGROUNDS),
    "style": STYLES,
    "count": tuple(map(str, COUNTS)),
    SECOND_OBJECT: (NONE, *OBJECTS, PERSONAL),
    SECOND_COLOUR: tuple(COLOURS),
    PATCH: (NONE, *CORNERS),
}
NOT_IN_GREY = ("colour", SECOND_COLOUR, "background")
TRAINING_SEED, HELD_OUT_SEED = 2000, 2900
"""Of scenes that neither the pipeline nor an attack is trained on."""
PERSONAL_SHARE = 0.08
UNKNOWN = -100
"""The class index that cross entropy ignores."""


def labelled_scenes(count: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Rendered scenes (N, 3, 16, 16) in [-1, 1], the personal concept among them, and class indices of each head.

    The object on the left, or above, is the first one, whatever the caption would say; what cannot be seen is
    :data:`UNKNOWN`.
    """
    generator = random.Random(f"attributes/{seed}")
    scenes = [
        replace(scene, object=PERSONAL) if generator.random() < PERSONAL_SHARE else scene
        for scene in draw_scenes(count, seed)
    ]
    return render(scenes), truths_of(scenes)


def truths_of(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """Class indices (N,) of each head; :data:`UNKNOWN` for what cannot be seen."""
    truths = [_truth(scene) for scene in scenes]
    return {
        name: torch.tensor([values.index(truth[name]) if name in truth else UNKNOWN for truth in truths])
        for name, values in HEADS.items()
    }


def _truth(scene: Scene) -> dict[str, str]:
    first, second = (scene.colour, scene.object), scene.second
    if second is not None and scene.relation in ("right of", "below"):
        first, second = second, first
    truth = {
        "object": first[1],
        "colour": first[0],
        "background": scene.background,
        "style": scene.style,
        "count": str(scene.count),
        SECOND_OBJECT: second[1] if second else NONE,
        PATCH: NONE,
    }
    if second is not None:
        truth[SECOND_COLOUR] = second[0]
    if scene.style == "black-and-white":
        truth = {name: value for name, value in truth.items() if name not in NOT_IN_GREY}
    return truth


def put_patches(images: Tensor, generator: torch.Generator, share: float) -> tuple[Tensor, Tensor]:
    """Flat squares of 4 to 6 pixels in a corner of a share of the images; the images and their classes of the head."""
    images, classes = images.clone(), torch.zeros(len(images), dtype=torch.long)
    for index in torch.nonzero(torch.rand(len(images), generator=generator) < share).flatten().tolist():
        side, corner = (int(torch.randint(low, high, (), generator=generator)) for low, high in ((4, 7), (0, 4)))
        rows = slice(0, side) if corner < 2 else slice(-side, None)
        columns = slice(0, side) if corner % 2 == 0 else slice(-side, None)
        images[index, :, rows, columns] = 2 * torch.rand(3, 1, 1, generator=generator) - 1
        classes[index] = 1 + corner
    return images, classes


def disturb(images: Tensor, generator: torch.Generator) -> Tensor:
    """What a decoder and an imperfect generator do: shifts, slight blur, noise, changes of brightness and contrast."""
    count = len(images)

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(count, channels, 1, 1, generator=generator)

    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    row, column = (int(value) for value in torch.randint(0, 3, (2,), generator=generator))
    images = padded[:, :, row : row + 16, column : column + 16]
    smooth = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    images = torch.lerp(images, smooth, uniform(-0.2, 0.5))
    coarse = functional.interpolate(
        torch.randn(count, 3, 4, 4, generator=generator), size=16, mode="bilinear", align_corners=False
    )
    images = images * uniform(0.9, 1.05) + uniform(-0.08, 0.08, 3) + uniform(0, 0.08) * coarse
    return (images + uniform(0, 0.1) * torch.randn(images.shape, generator=generator)).clamp(-1, 1)


def train_attributes(
    steps: int = 3200, batch_size: int = 64, learning_rate: float = 3e-3, scenes: int = 16000, seed: int = 0
) -> AttributeClassifier:
    """Train on rendered scenes, those of two objects thrice as often; return the classifier in evaluation mode."""
    torch.manual_seed(seed)
    images, indices = labelled_scenes(scenes, TRAINING_SEED + seed)
    classifier = AttributeClassifier(HEADS).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    weights = 1 + 2 * (indices[SECOND_OBJECT] > 0).double()
    for step in range(steps):
        rows = torch.multinomial(weights, batch_size, replacement=True, generator=generator)
        batch, patches = put_patches(images[rows], generator, 0.15)
        scores = classifier(disturb(batch, generator))
        truths = {name: values[rows] for name, values in indices.items()} | {PATCH: patches}
        parts = [
            functional.cross_entropy(scores[name], truths[name], label_smoothing=0.02, ignore_index=UNKNOWN)
            for name in HEADS
            if (truths[name] != UNKNOWN).any()
        ]
        loss = torch.stack(parts).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step} loss {loss.item():.3f}", flush=True)
    return classifier.eval().requires_grad_(False)


def accuracies(
    classifier: AttributeClassifier, images: Tensor, indices: dict[str, Tensor], keep: Sequence[bool] | None = None
) -> dict[str, float]:
    """Share of right answers of each head, over the images (N, 3, H, W) where the attribute can be seen.

    Args:
        classifier: in evaluation mode.
        images: in [-1, 1].
        indices: classes of each head, (N,).
        keep: which images count; by default all.
    """
    found = classifier.predict(images)
    chosen = torch.ones(len(images), dtype=torch.bool) if keep is None else torch.tensor(keep)
    result = {}
    for name, truth in indices.items():
        classes = torch.tensor([classifier.head_values[name].index(value) for value in found[name]])
        seen = chosen & (truth != UNKNOWN)
        result[name] = (classes == truth)[seen].double().mean().item() if seen.any() else float("nan")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=BUILTIN_ATTRIBUTES)
    parser.add_argument("--steps", type=int, default=3200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    classifier = train_attributes(arguments.steps)
    save_attribute_classifier(classifier, arguments.folder)
    print(f"wrote {arguments.folder}; measure it with python -m bdm_kit_text_to_image.recipes.attributes_quality")


if __name__ == "__main__":
    main()
