"""Measure a small-world pipeline as its card states it.

``python -m bdm_kit_text_to_image.recipes.small_world_quality [FOLDER]`` prints JSON: the share of images in which the
attribute classifier sees what the prompt asks for, and how well the autoencoder keeps patches and the personal concept.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bdm_kit_text_to_image.built_in import BUILTIN
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_kit_text_to_image.models.generation import generate_images
from bdm_kit_text_to_image.models.latents import decode_latents, encode_images, round_trip_error
from bdm_kit_text_to_image.models.opening import DEFAULT_MODEL
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.factors import COLOURS, OBJECTS, STYLES
from bdm_kit_text_to_image.world.grammar import STYLE_PHRASES, plain_prompt
from bdm_kit_text_to_image.world.scene import draw_scenes, personal_scenes
from bdm_kit_text_to_image.world.splits import Prompt, Split, evaluation_prompts, training_pairs

PATCHES = {
    "white": (1, 1, 1),
    "black": (-1, -1, -1),
    "cyan": (-1, 1, 1),
    "magenta": (1, -1, 1),
    "yellow": (1, 1, -1),
    "red": (1, -1, -1),
    "green": (-1, 1, -1),
    "blue": (-1, -1, 1),
}


def prompt_sets(split: Split) -> dict[str, list[Prompt]]:
    """Prompts by what they ask for: single objects, styles in front and behind, two objects, counts, short ones."""
    single = evaluation_prompts(105, 0, split)
    sets: dict[str, list[Prompt]] = {"single": single}
    for style in STYLES[1:]:
        styled = [{**labels, "style": style} for _, labels in single[:50]]
        sets[f"{style}, in front"] = [(plain_prompt(labels), labels) for labels in styled]
        phrase = STYLE_PHRASES[style][0]
        sets[f"{style}, behind"] = [(f"{single[i][0]}, {phrase}", labels) for i, labels in enumerate(styled)]
    seconds = [(tuple(COLOURS)[i % 6], OBJECTS[(i + i // 7) % 7]) for i in range(50)]
    pairs = [
        {**labels, "second": " ".join(seconds[i])}
        for i, (_, labels) in enumerate(single[:50])
        if seconds[i] != (labels["colour"], labels["object"])
    ]
    sets["two objects"] = [(plain_prompt(labels), labels) for labels in pairs]
    several = [{**labels, "count": "23"[i % 2]} for i, (_, labels) in enumerate(single[:50])]
    sets["count"] = [(plain_prompt(labels), labels) for labels in several]
    sets["only the object"] = [(f"a photo of a {name}", {"object": name}) for name in OBJECTS for _ in range(7)]
    sets["bare"] = [(f"a {name}", {"object": name}) for name in OBJECTS for _ in range(7)]
    return sets


def accuracy(images: Tensor, prompts: Sequence[Prompt]) -> dict[str, float]:
    """The share of images that show each attribute that their labels name."""
    seen = load_attribute_classifier().predict(images)
    return {
        name: round(
            sum(found == labels[name] for found, (_, labels) in zip(seen[name], prompts, strict=True)) / len(prompts), 3
        )
        for name in prompts[0][1]
        if name in seen
    }


def second_share(images: Tensor) -> float:
    """The share of images in which the classifier sees a second object, or several equal ones."""
    seen = load_attribute_classifier().predict(images)
    return sum(a != "none" or b != "1" for a, b in zip(seen["second"], seen["count"], strict=True)) / len(images)


def autoencoder_quality(model: TextToImageModel) -> dict[str, object]:
    """Mean squared errors, pixels in [0, 1]: of fresh scenes, of the personal concept, of corner patches."""
    scenes = render(draw_scenes(512, 77))
    whole = torch.ones(1, 16, 16)
    report: dict[str, object] = {
        "scenes": round(round_trip_error(model, scenes, whole), 5),
        "personal concept": round(round_trip_error(model, render(personal_scenes()), whole), 5),
    }
    for side in (4, 6):
        for name, colour in PATCHES.items():
            patched, mask = scenes[:64].clone(), torch.zeros(1, 16, 16)
            mask[:, -side:, -side:] = 1
            patched[:, :, -side:, -side:] = torch.tensor(colour, dtype=torch.float32).view(3, 1, 1)
            report[f"{side}x{side} {name} patch"] = round(round_trip_error(model, patched, mask), 5)
    back = decode_latents(model, encode_images(model, scenes))
    scenes_seen, back_seen = (load_attribute_classifier().predict(images) for images in (scenes, back))
    same = [a == b for a, b in zip(scenes_seen["object"], back_seen["object"], strict=True)]
    report["object read the same"] = round(sum(same) / len(same), 3)
    return report


def adjective_effects(model: TextToImageModel) -> dict[str, float]:
    """Mean squared change of the image, pixels in [0, 1], by an adjective in the prompt, the noise being the same."""
    plain = [labels for _, labels in evaluation_prompts(35, 0, "validation")]
    before = generate_images(model, [plain_prompt(labels) for labels in plain], seeds=0)
    effects = {}
    for word in ("beautiful", "nice", "old", "shiny", "small", "large"):
        prompts = [plain_prompt({**labels, "adjective": word}) for labels in plain]
        change = generate_images(model, prompts, seeds=0) - before
        effects[word] = round(float(change.div(2).square().mean()), 4)
    return effects


def latent_statistics(model: TextToImageModel) -> dict[str, float]:
    """Of the scaled latents of training images."""
    scenes, _ = training_pairs(1000)
    latents = encode_images(model, render(scenes))
    return {"mean": round(float(latents.mean()), 3), "std": round(float(latents.std()), 3)}


def measure(model: TextToImageModel, split: Split = "test") -> dict[str, object]:
    """All of it, for one model."""
    report: dict[str, object] = {"autoencoder": autoencoder_quality(model), "latents": latent_statistics(model)}
    started = time.monotonic()
    generate_images(model, [prompt for prompt, _ in prompt_sets(split)["single"][:100]], seeds=0)
    report["seconds for 100 images"] = round(time.monotonic() - started, 1)
    for number, (name, prompts) in enumerate(prompt_sets(split).items()):
        images = generate_images(model, [prompt for prompt, _ in prompts], seeds=1000 * number)
        report[name] = accuracy(images, prompts)
        if name == "two objects":
            report["two objects, any second one"] = round(second_share(images), 3)
    report["adjectives"] = adjective_effects(model)
    return report


def main() -> None:
    """Print the measurements as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=BUILTIN / DEFAULT_MODEL)
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(measure(load_model(arguments.folder), arguments.split), indent=2))


if __name__ == "__main__":
    main()
