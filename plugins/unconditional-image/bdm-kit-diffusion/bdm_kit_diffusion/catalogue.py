"""The built-in models and data sets by name. Light: no torch."""

from __future__ import annotations

from bdm_core.records import BuiltIn
from bdm_kit_diffusion import TASK

DEFAULT_MODEL, TINY_MODEL = "digits-ddpm", "digits-tiny"
VE_MODEL, SHAPES_MODEL, LATENT_MODEL = "digits-ve", "shapes-ddpm", "shapes-ldm"
BUILTIN_MODELS = {name: name for name in (DEFAULT_MODEL, TINY_MODEL, VE_MODEL, SHAPES_MODEL, LATENT_MODEL)}
BUILTIN_MODELS["tiny"] = TINY_MODEL
"""Names of built-in models and their folders; ``tiny`` is what the conformance tests ask every kit for."""
DEFAULT_DATA, SHAPES_DATA = "digits", "shapes"
BUILTIN_DATA: dict[str, tuple[int, int, int]] = {
    DEFAULT_DATA: (1, 8, 8),
    SHAPES_DATA: (3, 16, 16),
    "tiny": (1, 8, 8),
}
"""Names of built-in data sets and (C, H, W) of their images; ``tiny`` is the first 32 digits."""
MODELS = [
    BuiltIn(
        name=DEFAULT_MODEL,
        task=TASK,
        summary="DDPM of handwritten digits",
        size="634,273 parameters, 1x8x8 images, 100 timesteps",
        quality="Fréchet distance 2.4 (halves of the training images: 3.2)",
        data=DEFAULT_DATA,
    ),
    BuiltIn(
        name=TINY_MODEL,
        task=TASK,
        summary="Still smaller DDPM of handwritten digits, for tests",
        size="40,489 parameters, 1x8x8 images, 20 timesteps",
        quality="Fréchet distance 13.6 (halves of the training images: 3.2)",
        data=DEFAULT_DATA,
    ),
    BuiltIn(
        name=VE_MODEL,
        task=TASK,
        summary="Variance-exploding score model of handwritten digits",
        size="359,953 parameters, 1x8x8 images, 100 noise levels",
        quality="Fréchet distance 3.7, with corrector 3.2 (halves of the training images: 3.2)",
        data=DEFAULT_DATA,
    ),
    BuiltIn(
        name=SHAPES_MODEL,
        task=TASK,
        summary="DDPM of coloured shapes",
        size="745,427 parameters, 3x16x16 images, 100 timesteps",
        quality="Fréchet distance 41 (halves of the training images: 11.7)",
        data=SHAPES_DATA,
    ),
    BuiltIn(
        name=LATENT_MODEL,
        task=TASK,
        summary="Latent DDPM of coloured shapes",
        size="686,308 parameters and 159,383 of the first stage, 3x16x16 images, 4x8x8 latents, 100 timesteps",
        quality="Fréchet distance 32 (halves of the training images: 11.7)",
        data=SHAPES_DATA,
    ),
]
"""What ``--model`` takes by name; the cards in ``built_in`` say how the distances were measured."""
DATA_SETS = [
    BuiltIn(
        name=DEFAULT_DATA,
        task=TASK,
        summary="scikit-learn's handwritten digits, ten classes",
        size="1797 images 1x8x8",
    ),
    BuiltIn(
        name=SHAPES_DATA,
        task=TASK,
        summary="Drawn shapes of eight classes in six colours on four backgrounds",
        size="2048 images 3x16x16",
    ),
]
"""What ``--data`` takes by name."""
