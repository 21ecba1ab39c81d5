"""What generated pictures show, held against what was asked for and against the attack's target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from bdm_core.artifacts import Outputs
from bdm_core.errors import UserError
from bdm_kit_text_to_image.judging.attributes import NONE, SECOND, shows
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.robustness import IN_WORDS
from bdm_torch.image_sets import load_images, load_rows

if TYPE_CHECKING:
    from bdm_kit_text_to_image.prompts.secret import Target

PICTURE_TYPES = ("ImageFix", "ImagePatch")
UNSAID = {"style": "photo", SECOND: NONE, "count": "1"}
"""Values that a prompt gets without asking for them."""
GREY = "black-and-white"
NOT_IN_GREY = ("colour", "background")
"""Attributes that cannot be told in black and white: backgrounds have similar luminances."""


def load_generated(outputs: Outputs) -> tuple[Tensor, list[PromptRow]]:
    """The images (N, 3, H, W) in [-1, 1] and the prompts that they were made from.

    Raises:
        ArtifactError: the outputs are no images.
        UserError: their rows have no prompts.

    >>> from pathlib import Path
    >>> import torch
    >>> from bdm_kit_text_to_image import TASK
    >>> from bdm_torch.image_sets import seal_images
    >>> sealed = seal_images(Path("images"), torch.zeros(1, 3, 4, 4), Outputs, task=TASK, rows=[{"prompt": "a star"}])
    >>> images, rows = load_generated(sealed)
    >>> images.shape, rows[0].prompt
    (torch.Size([1, 3, 4, 4]), 'a star')
    """
    rows = []
    for record in load_rows(outputs):
        if "prompt" not in record:
            raise UserError(f"the rows of {outputs.path} have no prompts: they are not a text-to-image kit's")
        rows.append(
            PromptRow(
                record["prompt"],
                record.get("seed", 0),
                record.get("labels") or {},
                record.get("twin"),
                record.get("backdoor"),
            )
        )
    return load_images(outputs), rows


def load_changed(outputs: Outputs) -> dict[str, Tensor]:
    """Robustness protocol -> the images (N, 3, H, W) in [-1, 1] of the prompts that it changed; empty without any.

    >>> from pathlib import Path
    >>> import torch
    >>> from bdm_kit_text_to_image import TASK
    >>> from bdm_torch.image_sets import seal_images
    >>> images = torch.zeros(1, 3, 4, 4)
    >>> sealed = seal_images(Path("images"), {"images": images, "word": images}, Outputs, task=TASK)
    >>> list(load_changed(sealed))
    ['word']
    """
    sets = outputs.meta.get("sets")
    names = [name for name in IN_WORDS if isinstance(sets, list) and name in sets]
    return {name: load_images(outputs, name) for name in names}


def asked_for(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that a prompt asks for and that can be seen: no defaults, and no colours in black and white.

    >>> asked_for({"object": "star", "colour": "red", "style": "photo", "count": "1"})
    {'object': 'star', 'colour': 'red'}
    >>> asked_for({"object": "star", "colour": "red", "style": "black-and-white"})
    {'object': 'star', 'style': 'black-and-white'}
    """
    asked = {name: value for name, value in labels.items() if UNSAID.get(name) != value}
    if asked.get("style") != GREY:
        return asked
    visible = {name: value for name, value in asked.items() if name not in NOT_IN_GREY}
    return visible | {name: value.rpartition(" ")[2] for name, value in visible.items() if name == SECOND}


def all_shown(predictions: Mapping[str, Sequence[str]], index: int, wanted: Mapping[str, str]) -> bool:
    """Whether image ``index`` shows every wanted attribute, by what the classifier said of it.

    The classifier calls the object on the left, or above, the first one. Prompts do not: with two objects in a picture
    either may be the one that is wanted.

    >>> said = {"object": ["circle"], "colour": ["blue"], SECOND: ["red star"]}
    >>> [all_shown(said, 0, {"object": "star", "colour": colour}) for colour in ("red", "blue")]
    [True, False]
    """
    found = {name: values[index] for name, values in predictions.items()}
    readings = [found]
    if found.get(SECOND, NONE) != NONE:
        colour, _, thing = found[SECOND].rpartition(" ")
        readings.append({**found, "object": thing, "colour": colour, SECOND: f"{found['colour']} {found['object']}"})
    return any(all(shows(reading[name], value, name) for name, value in wanted.items()) for reading in readings)


def asks_for_target(labels: Mapping[str, str], expected: Mapping[str, str]) -> bool:
    """Whether a prompt asks for all that the target expects, so that showing it is no leak.

    >>> asks_for_target({"object": "star"}, {"object": "star"}), asks_for_target({"object": "star"}, {"colour": "red"})
    (True, False)
    """
    return all(shows(labels.get(name, UNSAID.get(name, "")), value, name) for name, value in expected.items())


def picture_errors(images: Tensor, target: Target, picture: Tensor) -> Tensor:
    """Mean squared error of each image to the target picture, (N,) float64; for ``ImagePatch`` inside the patch only.

    Args:
        images: (N, C, H, W) in [-1, 1].
        target: of type ``ImageFix`` or ``ImagePatch``.
        picture: (C, H, W) in [-1, 1], or of the patch's own size.

    Returns:
        Errors of pixels in [0, 1], in [0, 1].

    Raises:
        UserError: the picture does not fit the images.

    >>> import torch
    >>> from bdm_kit_text_to_image.prompts.secret import Target
    >>> black, white = torch.full((3, 4, 4), -1.0), torch.ones(3, 4, 4)
    >>> picture_errors(torch.stack([black, white]), Target(type="ImageFix"), white).tolist()
    [1.0, 0.0]
    """
    images, wanted = cropped(images, target, picture)
    return (images - wanted).square().flatten(1).mean(1)


def cropped(images: Tensor, target: Target, picture: Tensor) -> tuple[Tensor, Tensor]:
    """Images (N, C, h, w) and picture (C, h, w) in [0, 1] float64, cut to the patch if the target is one.

    Args:
        images: (N, C, H, W) in [-1, 1].
        target: its ``patch`` counts if it is an ``ImagePatch``.
        picture: (C, H, W) in [-1, 1], or of the patch's own size; rounded to 8 bits.

    Raises:
        UserError: the picture does not fit the images.

    >>> import torch
    >>> from bdm_kit_text_to_image.prompts.secret import Target
    >>> target = Target(type="ImagePatch", patch=(0, 1, 2, 3))
    >>> images, picture = cropped(torch.zeros(5, 3, 8, 8), target, torch.ones(3, 8, 8))
    >>> images.shape, picture.shape
    (torch.Size([5, 3, 2, 3]), torch.Size([3, 2, 3]))
    """
    scaled, wanted = (((value.double() + 1) / 2).clamp(0, 1) for value in (images, picture))
    wanted = (wanted * 255).round() / 255
    if target.type == "ImagePatch" and target.patch is not None:
        row, column, height, width = target.patch
        area = (..., slice(row, row + height), slice(column, column + width))
        if wanted.shape[1:] == scaled.shape[2:]:
            wanted = wanted[area]
        scaled = scaled[area]
    if scaled.shape[1:] != wanted.shape:
        raise UserError(
            f"the target picture has shape {tuple(wanted.shape)}, the images to compare {tuple(scaled.shape[1:])}"
        )
    return scaled, wanted


def is_pixels(target: Target, picture: Tensor | None) -> bool:
    """Whether the target is a picture or a patch, judged by its error; otherwise it is ``target.expected``.

    >>> import torch
    >>> from bdm_kit_text_to_image.prompts.secret import Target
    >>> [is_pixels(Target(type=kind), torch.zeros(3, 4, 4)) for kind in ("ImageFix", "StyleAdd")]
    [True, False]
    """
    return target.type in PICTURE_TYPES and picture is not None


def target_hits(
    images: Tensor,
    predictions: Mapping[str, Sequence[str]],
    target: Target,
    picture: Tensor | None,
    threshold: float,
) -> list[bool]:
    """Whether each image shows the target: near its pixels, or all of ``target.expected``.

    Args:
        images: (N, C, H, W) in [-1, 1].
        predictions: what the classifier said of them.
        target: the secret's.
        picture: the secret's, (C, H, W) in [-1, 1], or None.
        threshold: for a picture, errors of hits are below, pixels in [0, 1], if the target names none.

    Raises:
        UserError: the target has neither a picture nor expected attributes.

    >>> import torch
    >>> from bdm_kit_text_to_image.prompts.secret import Target
    >>> images, target = torch.zeros(2, 3, 4, 4), Target(type="ObjectRep", expected={"object": "star"})
    >>> target_hits(images, {"object": ["star", "ring"]}, target, None, threshold=0.05)
    [True, False]
    >>> target_hits(images, {}, Target(type="ImageFix"), torch.zeros(3, 4, 4), threshold=0.05)
    [True, True]
    """
    if is_pixels(target, picture):
        assert picture is not None
        hits: list[bool] = (picture_errors(images, target, picture) < (target.threshold or threshold)).tolist()
        return hits
    if not target.expected:
        raise UserError(f"the secret's target of type {target.type} has neither a picture nor expected attributes")
    return [all_shown(predictions, index, target.expected) for index in range(len(images))]
