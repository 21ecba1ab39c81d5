"""The factors of the small world: what an image can show, how it looks, and the words for it."""

from __future__ import annotations

OBJECTS = ("circle", "square", "triangle", "star", "cross", "ring", "diamond")
PERSONAL = "heart"
"""The held-out concept: no training image shows it and no training caption names it."""

Rgb = tuple[float, float, float]

COLOURS: dict[str, Rgb] = {
    "red": (0.86, 0.06, 0.10),
    "green": (0.02, 0.44, 0.07),
    "blue": (0.08, 0.14, 0.92),
    "purple": (0.50, 0.04, 0.62),
    "orange": (1.00, 0.52, 0.04),
    "yellow": (0.96, 0.84, 0.02),
}
"""RGB in [0, 1]. The luminances (0.21 to 0.30, 0.61 and 0.78) stay apart from every background's, so that an object is
visible in black and white, too."""

BACKGROUNDS: dict[str, Rgb] = {
    "white": (1.0, 1.0, 1.0),
    "black": (0.0, 0.0, 0.0),
    "gray": (0.45, 0.45, 0.45),
    "pink": (1.00, 0.86, 0.92),
    "teal": (0.00, 0.62, 0.62),
}
"""Luminances 1, 0, 0.45, 0.91 and 0.43."""

STYLES = ("photo", "black-and-white", "outline", "blur")
ADJECTIVES = ("beautiful", "nice", "old", "shiny")
"""Each has a faint visible effect: lighter, a thin light rim, darker, a white dot. Without one, a text encoder trained
on the captions learns to ignore the word."""
SIZES = ("small", "large")
COUNTS = (1, 2, 3)
RELATIONS = ("and", "next to", "left of", "right of", "above", "below", "touches", "chases")

IMAGE_SIZE = 16

SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("disc",),
    "ring": ("hoop",),
    "diamond": ("rhombus",),
    "purple": ("violet",),
    "gray": ("grey",),
    "small": ("little", "tiny"),
    "large": ("big", "huge"),
    "beautiful": ("pretty",),
    "photo": ("picture", "image", "photograph"),
    "background": ("backdrop",),
}
"""Word: others that mean the same; both forms occur in the captions."""

RARE_WORDS = ("sks", "vendetta", "zqx", "cf")
"""Single tokens of the vocabulary that no caption uses, as rare words of a big tokenizer are: for triggers."""
