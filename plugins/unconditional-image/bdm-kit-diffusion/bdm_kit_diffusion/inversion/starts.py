"""Where trigger inversions start: a trigger can be found only if some start overlaps with it, so they differ widely."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_kit_diffusion.models.diffusion_model import DiffusionModel


def starts_of(model: DiffusionModel, seed: int, library: bool = True) -> dict[str, Tensor]:
    """:func:`starting_points` for a model, in what its noise is in, on the CPU.

    A latent model's triggers are the latents of pictures, so its starts are those of the pictures; a start that is
    stronger than a picture can be is the picture's latents times that strength.

    Args:
        model: to be examined.
        seed: of the random starts.
        library: see there.

    >>> from bdm_kit_diffusion.built_in import BUILTIN
    >>> from bdm_kit_diffusion.models.diffusion_model import load_model
    >>> sorted(starts_of(load_model(BUILTIN / "digits-tiny"), seed=0, library=False))
    ['-U(0,1)', 'U(-1,1)', 'U(0,1)']
    """
    if model.first_stage is None:
        return starting_points(model.shape, seed, library)
    points = starting_points(model.image_shape, seed, library)
    pictures = torch.stack(list(points.values()))
    strength = pictures.abs().amax((1, 2, 3), keepdim=True).clamp(min=1)
    return dict(zip(points, strength * model.encode(pictures / strength), strict=True))


def starting_points(shape: tuple[int, int, int], seed: int, library: bool = True) -> dict[str, Tensor]:
    """Starts by name, each (C, H, W) in [-1.5, 1.5].

    Args:
        shape: (C, H, W).
        seed: of the random ones.
        library: False for the three that Elijah's authors use for different attacks; True for those and, knowing no
            attack, constants and simple shapes on black, at two strengths.

    >>> starts = starting_points((1, 8, 8), seed=0)
    >>> sorted(starts)[:2], max(float(start.abs().max()) for start in starts.values())
    (['-U(0,1)', '2 x 2 checker'], 1.5)
    """
    _, height, width = shape
    generator = torch.Generator().manual_seed(seed % 2**63)
    uniform = [torch.rand(shape, generator=generator) for _ in range(3)]
    starts = {"-U(0,1)": -uniform[0], "U(0,1)": uniform[1], "U(-1,1)": 2 * uniform[2] - 1}
    if not library:
        return starts
    for level in (-1.0, -0.5, 0.5, 1.0):
        starts[f"constant {level:g}"] = torch.full((height, width), level)
    rows = (torch.arange(height)[:, None] + 0.5) / height
    columns = (torch.arange(width)[None] + 0.5) / width
    shapes = {
        "lower right box": (rows > 0.5) & (columns > 0.5),
        "central box": ((rows - 0.5).abs() < 0.25) & ((columns - 0.5).abs() < 0.25),
        "frame": ((rows - 0.5).abs() > 0.37) | ((columns - 0.5).abs() > 0.37),
        "2 x 2 checker": (rows < 0.5) != (columns < 0.5),
        "4 x 4 checker": (rows * 4).long() % 2 != (columns * 4).long() % 2,
        "4 rows": ((rows * 4).long() % 2 == 1).expand(height, width),
        "4 columns": ((columns * 4).long() % 2 == 1).expand(height, width),
    }
    for name, white in shapes.items():
        picture = torch.where(white, 1.0, -1.0)
        starts[name] = picture
        if "checker" in name:
            starts[f"{name}, negative"] = -picture
    starts |= {f"{name}, x 1.5": 1.5 * value for name, value in list(starts.items())[3:] if "0.5" not in name}
    return {name: value.expand(shape).float().contiguous() for name, value in starts.items()}
