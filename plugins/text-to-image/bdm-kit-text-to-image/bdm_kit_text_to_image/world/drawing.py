"""Scenes as images: drawn at 8 times the size, averaged down, then styled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from bdm_kit_text_to_image.world.factors import BACKGROUNDS, COLOURS, IMAGE_SIZE, Rgb
from bdm_kit_text_to_image.world.scene import Scene

FACTOR = 8
LUMINANCE = (0.299, 0.587, 0.114)
STROKE = 1.2
"""Line width of the outline style, in pixels of the image."""
BLUR = 1.3
"""Standard deviation of the blur style, in pixels of the image."""


@dataclass(frozen=True)
class Part:
    """One object on the canvas: centre and radius in pixels of the image."""

    object: str
    colour: str
    x: float
    y: float
    radius: float


def layout(scene: Scene) -> list[Part]:
    """Where the objects are. The four corners, 3 pixels a side, stay free but for large squares' edges."""
    right, down, size = scene.jitter
    middle = IMAGE_SIZE / 2
    if scene.second is not None:
        radius, apart = 2.9 + 0.2 * size, 3.8
        if scene.relation == "touches":
            apart = 2.95 + 0.2 * size
        step = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}.get(scene.relation, (-1, 0))
        centres = [(middle + side * apart * step[0], middle + side * apart * step[1]) for side in (1, -1)]
        parts = [(scene.object, scene.colour), (scene.second[1], scene.second[0])]
        free = 0.5 if step[0] else 1.0, 1.0 if step[0] else 0.5
        return [
            Part(name, colour, x + 0.6 * free[0] * right, y + free[1] * down, radius)
            for (name, colour), (x, y) in zip(parts, centres, strict=True)
        ]
    if scene.count > 1:
        radius, apart = (2.9, 3.8) if scene.count == 2 else (2.15, 5.1)
        offsets = (-1, 1) if scene.count == 2 else (-1, 0, 1)
        return [
            Part(scene.object, scene.colour, middle + k * apart + 0.2 * right, middle + 1.5 * down, radius + 0.1 * size)
            for k in offsets
        ]
    radius, reach = {"small": (2.7, 1.8), "large": (5.7, 0.4)}.get(scene.adjective, (4.3, 1.0))
    return [Part(scene.object, scene.colour, middle + reach * right, middle + reach * down, radius + 0.3 * size)]


def outline(name: str) -> list[tuple[float, float]]:
    """The corners of an object around (0, 0) for radius 1, y down; all objects cover similar areas."""
    if name == "square":
        return [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)]
    if name == "diamond":
        return [(0, -1.25), (0.8, 0), (0, 1.25), (-0.8, 0)]
    if name == "triangle":
        return [(0, -1.1), (1.1, 0.85), (-1.1, 0.85)]
    if name == "star":
        turns = [(math.pi * k / 5, 1.25 if k % 2 == 0 else 0.5) for k in range(10)]
        return [(length * math.sin(turn), -length * math.cos(turn)) for turn, length in turns]
    if name == "cross":
        a, b = 1.1, 0.36
        return [
            (-b, -a),
            (b, -a),
            (b, -b),
            (a, -b),
            (a, b),
            (b, b),
            (b, a),
            (-b, a),
            (-b, b),
            (-a, b),
            (-a, -b),
            (-b, -b),
        ]
    turns = [(2 * math.pi * k / 48, 1.0) for k in range(48)]
    if name == "heart":
        return [
            (
                1.05 * math.sin(t) ** 3,
                -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 14.5,
            )
            for t, _ in turns
        ]
    if name in ("circle", "ring"):
        return [(math.sin(turn), -math.cos(turn)) for turn, _ in turns]
    raise ValueError(f"unknown object {name}")


def _mix(colour: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _paint(draw: ImageDraw.ImageDraw, part: Part, scene: Scene) -> None:
    background, colour = BACKGROUNDS[scene.background], COLOURS[part.colour]
    if scene.adjective == "beautiful":
        colour = _mix(colour, (1, 1, 1), 0.28)
    if scene.adjective == "old":
        colour = _mix(colour, (0, 0, 0), 0.35)
    ink, paper = (tuple(round(255 * value) for value in rgb) for rgb in (colour, background))

    def corners(scale: float, name: str = part.object) -> list[tuple[float, float]]:
        radius = part.radius * scale
        return [((part.x + radius * x) * FACTOR, (part.y + radius * y) * FACTOR) for x, y in outline(name)]

    hole = corners(0.5) if part.object == "ring" else []
    if scene.style == "outline":
        for line in [corners(1.0)] + ([hole] if hole else []):
            draw.line([*line, *line[:2]], fill=ink, width=round(STROKE * FACTOR), joint="curve")
    else:
        draw.polygon(corners(1.0), fill=ink)
        if hole:
            draw.polygon(hole, fill=paper)
    if scene.adjective == "nice":
        line = corners(1.0)
        rim = tuple(round(255 * value) for value in _mix(colour, (1, 1, 1), 0.6))
        draw.line([*line, *line[:2]], fill=rim, width=round(0.6 * FACTOR), joint="curve")
    if scene.adjective == "shiny":
        shift = 0.53 if part.object == "ring" else 0.25
        x, y, r = part.x - shift * part.radius, part.y - shift * part.radius, 0.26 * part.radius
        draw.ellipse([FACTOR * v for v in (x - r, y - r, x + r, y + r)], fill=(255, 255, 255))


def render_scene(scene: Scene) -> np.ndarray:
    """(16, 16, 3) in [0, 1], before black-and-white and blur."""
    side = IMAGE_SIZE * FACTOR
    paper = tuple(round(255 * value) for value in BACKGROUNDS[scene.background])
    picture = Image.new("RGB", (side, side), paper)
    draw = ImageDraw.Draw(picture)
    for part in layout(scene):
        _paint(draw, part, scene)
    small: np.ndarray = np.asarray(picture.reduce(FACTOR), dtype=np.float32) / 255
    return small


def blurred(images: Tensor) -> Tensor:
    """Images (N,3,H,W) under a Gaussian, edges continued."""
    steps = torch.arange(-4, 5, dtype=images.dtype)
    kernel = torch.exp(-(steps**2) / (2 * BLUR**2))
    kernel = (kernel / kernel.sum()).repeat(3, 1, 1, 1)
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4), mode="replicate")
    rows = torch.nn.functional.conv2d(padded, kernel, groups=3)
    return torch.nn.functional.conv2d(rows, kernel.transpose(2, 3), groups=3)


def grey(images: Tensor) -> Tensor:
    """Images (N,3,H,W) without colour, still three channels."""
    weights = torch.tensor(LUMINANCE, dtype=images.dtype).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True).expand_as(images)


def render(scenes: Sequence[Scene]) -> Tensor:
    """The scenes as images (N, 3, 16, 16), float32 in [-1, 1]."""
    pixels = np.stack([render_scene(scene) for scene in scenes])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous() * 2 - 1
    for style, change in (("black-and-white", grey), ("blur", blurred)):
        rows = [index for index, scene in enumerate(scenes) if scene.style == style]
        if rows:
            images[rows] = change(images[rows])
    return images
