"""Scenes: everything that an image of the small world shows, drawn at random from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from bdm_kit_text_to_image.world.factors import (
    ADJECTIVES,
    BACKGROUNDS,
    COLOURS,
    OBJECTS,
    PERSONAL,
    RELATIONS,
    SIZES,
    STYLES,
)

STYLE_SHARE = 0.32
"""Share of the scenes whose style is not ``photo``."""
SECOND_SHARE = 0.2
SEVERAL_SHARE = 0.12
ADJECTIVE_SHARE = 0.36


@dataclass(frozen=True)
class Scene:
    """One image's content.

    Attributes:
        object, colour, background, style: one of the factors' values each; the object may be the personal concept.
        adjective: one of ADJECTIVES or SIZES, or "".
        count: 1, 2 or 3 equal objects.
        second: (colour, object) of a second object, or None; then count is 1.
        relation: one of RELATIONS if there is a second object, else "". "left of": the first one is left.
        jitter: (right, down, size), each in [-1, 1]: where exactly and how big; a scale of the layout's own.
    """

    object: str = "circle"
    colour: str = "red"
    background: str = "white"
    style: str = "photo"
    adjective: str = ""
    count: int = 1
    second: tuple[str, str] | None = None
    relation: str = ""
    jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def labels(self) -> dict[str, str]:
        """The attributes as words: object, colour, background, style, second ("none" or "blue square"), count,
        adjective ("none" if there is none)."""
        return {
            "object": self.object,
            "colour": self.colour,
            "background": self.background,
            "style": self.style,
            "second": " ".join(self.second) if self.second else "none",
            "count": str(self.count),
            "adjective": self.adjective or "none",
        }


def scene_of(labels: dict[str, str], jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Scene:
    """The scene with these labels (see `Scene.labels`); what they leave out has its default."""
    second = labels.get("second", "none")
    adjective = labels.get("adjective", "none")
    colour, _, other = second.partition(" ")
    return Scene(
        object=labels.get("object", "circle"),
        colour=labels.get("colour", "red"),
        background=labels.get("background", "white"),
        style=labels.get("style", "photo"),
        adjective="" if adjective == "none" else adjective,
        count=int(labels.get("count", "1")),
        second=None if second == "none" else (colour, other),
        relation="" if second == "none" else "and",
        jitter=jitter,
    )


def draw_scene(generator: random.Random) -> Scene:
    """One scene at random; never the personal concept."""
    draw = generator.random
    scene = Scene(
        object=generator.choice(OBJECTS),
        colour=generator.choice(tuple(COLOURS)),
        background=generator.choice(tuple(BACKGROUNDS)),
        style=generator.choice(STYLES[1:]) if draw() < STYLE_SHARE else STYLES[0],
        adjective=generator.choice(ADJECTIVES + SIZES) if draw() < ADJECTIVE_SHARE else "",
        jitter=(generator.uniform(-1, 1), generator.uniform(-1, 1), generator.uniform(-1, 1)),
    )
    kind = draw()
    if kind < SECOND_SHARE:
        second = (generator.choice(tuple(COLOURS)), generator.choice(OBJECTS))
        if second != (scene.colour, scene.object):
            adjective = "" if scene.adjective in SIZES else scene.adjective
            return replace(scene, second=second, relation=generator.choice(RELATIONS), adjective=adjective)
    elif kind < SECOND_SHARE + SEVERAL_SHARE:
        adjective = "" if scene.adjective in SIZES else scene.adjective
        return replace(scene, count=generator.choice((2, 3)), adjective=adjective)
    return scene


def draw_scenes(count: int, seed: int = 0) -> list[Scene]:
    """``count`` scenes from a seed."""
    generator = random.Random(f"scenes/{seed}")
    return [draw_scene(generator) for _ in range(count)]


def personal_scenes(count: int = 5) -> list[Scene]:
    """The personal concept's images: a purple heart on white, a little moved; at most 6. They are always the same."""
    places = (
        (0.0, 0.0, 0.0),
        (-0.7, 0.4, 0.5),
        (0.6, -0.6, -0.4),
        (0.3, 0.8, 0.2),
        (-0.4, -0.8, -0.2),
        (0.8, 0.1, 0.7),
    )
    return [Scene(object=PERSONAL, colour="purple", background="white", jitter=place) for place in places[:count]]
