"""Chosen rows of images or of initial noise."""

from __future__ import annotations

from typing import Literal

import torch

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.noise.initial_noise import NOISE, load_noise, seal_noise
from bdm_torch.image_sets import IMAGES, load_images, load_rows, seal_images

VISIBLE = ("label", "object", "colour", "background")
"""What is left of a row's facts for those who must not know more: what the picture shows."""


def select(ctx: Context, sources: list[Data], rows: list[int], blind: bool) -> Data:
    """Rows of images or of initial noise, counted through all sources; sealed in ``ctx.out / "data"``.

    Of a poisoned set the pictures are chosen; what is needed to train the backdoor (trigger and targets at full
    precision) stays behind. Images are written in one layout, so that nothing tells which source they came from.

    Args:
        ctx: of the stage.
        sources: at least one, all images or all noise, of one shape.
        rows: there may be none.
        blind: keep only :data:`VISIBLE` of each row's facts.

    Raises:
        ArtifactError: the sources are of different formats.
    """
    wanted = torch.tensor(rows, dtype=torch.int64)
    formats = {source.format for source in sources}
    if formats == {NOISE}:
        return seal_noise(ctx.out / "data", torch.cat([load_noise(source) for source in sources])[wanted])
    if formats != {IMAGES}:
        raise ArtifactError(f"cannot select rows of {', '.join(sorted(formats))}: expected {IMAGES} or {NOISE}")
    images = torch.cat([load_images(source) for source in sources])
    every = [row for source in sources for row in load_rows(source)]
    facts = [
        {key: value for key, value in every[row].items() if (key in VISIBLE if blind else key != "file")}
        for row in rows
    ]
    precise = any(source.meta.get("layout") == "float32" for source in sources)
    layout: Literal["auto", "float32"] = "float32" if precise else "auto"
    return seal_images(ctx.out / "data", images[wanted], Data, task=TASK, rows=facts, layout=layout)
