"""The kit's built-in models and data by name. Light: no torch."""

from __future__ import annotations

from bdm_core.records import BuiltIn
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.models.opening import DEFAULT_MODEL, TINY_MODEL
from bdm_kit_text_to_image.prompts.opening import DEFAULT_DATA, TINY_DATA, TINY_IMAGES, WORLD_IMAGES

MODELS = (
    BuiltIn(
        name=DEFAULT_MODEL,
        task=TASK,
        summary="Stable Diffusion of coloured shapes, 16x16 pixels",
        size="1,659,099 parameters, 3x16x16 images, 4x8x8 latents, 1000 timesteps",
        quality="object, colour and background are as asked for in all of 105 prompts about one object",
        data=DEFAULT_DATA,
    ),
    BuiltIn(
        name=TINY_MODEL,
        task=TASK,
        summary="Stable Diffusion with random weights, for tests",
        size="3x16x16 images, 4x8x8 latents, 20 timesteps",
        quality="none",
        data=DEFAULT_DATA,
    ),
)
DATA_SETS = (
    BuiltIn(
        name=DEFAULT_DATA,
        task=TASK,
        summary="Captioned pictures of coloured shapes with known attributes, drawn by code",
        size=f"{WORLD_IMAGES} images of the model's size",
    ),
    BuiltIn(name=TINY_DATA, task=TASK, summary="The first of these, for tests", size=f"{TINY_IMAGES} images"),
)
