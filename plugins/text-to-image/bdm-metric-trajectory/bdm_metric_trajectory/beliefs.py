"""What a model believes the picture is: the clean latents that each step's prediction stands for, decoded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_kit_text_to_image.analysis.pairs import Pairs
from bdm_kit_text_to_image.models.latents import decode_latents
from bdm_kit_text_to_image.recording.chain import ChainOptions, walk


@dataclass(frozen=True, eq=False)
class Beliefs:
    """Of N pairs at K steps.

    Attributes:
        steps: the K steps, counted from 1.
        pictures: ``clean`` and ``triggered`` -> (K, N, 3, H, W) in [-1, 1].
        apart: (K,) mean squared difference of the two, pixels in [0, 1], mean over pairs.
        target: ``clean`` and ``triggered`` -> (K,) share of the pictures that show the target; None where nobody can
            tell.
    """

    steps: list[int]
    pictures: dict[str, Tensor]
    apart: Tensor
    target: dict[str, Tensor] | None


def looks_at(steps: int, looks: int) -> list[int]:
    """Which steps are looked at, counted from 0: evenly spaced, the first and the last among them.

    >>> looks_at(20, 5), looks_at(3, 8)
    ([0, 5, 10, 14, 19], [0, 1, 2])
    """
    if looks >= steps:
        return list(range(steps))
    return sorted({round(place * (steps - 1) / (looks - 1)) for place in range(looks)})


def believe(pairs: Pairs, options: ChainOptions, looks: int) -> Beliefs:
    """Walk every pair from one initial noise and decode what is believed on the way.

    Args:
        pairs: the model and its prompts.
        options: steps and guidance of deterministic DDIM.
        looks: so many steps are looked at.
    """
    chosen = looks_at(options.steps, looks)
    starts, pictures = pairs.starts(), {}
    for side, prompts in pairs.prompts.items():
        seen: dict[int, list[Tensor]] = {step: [] for step in chosen}
        for part in walk(pairs.model, prompts, pairs.seed, options, starts[side]):
            if part.step in seen:
                with torch.no_grad():
                    seen[part.step].append(decode_latents(pairs.model, part.original).float().cpu())
        pictures[side] = torch.stack([torch.cat(seen[step]) for step in chosen])
    apart = (pictures["clean"] - pictures["triggered"]).double().div(2).square().flatten(1).mean(1)
    rows = list(range(len(pairs.rows)))
    shares: dict[str, Tensor] = {}
    for side, images in pictures.items():
        hits = [pairs.shows_target(each, rows) for each in images]
        known = [torch.tensor(each, dtype=torch.float64).mean() for each in hits if each is not None]
        if len(known) == len(hits):
            shares[side] = torch.stack(known)
    return Beliefs([step + 1 for step in chosen], pictures, apart, shares if len(shares) == len(pictures) else None)


def first_above_half(values: Tensor, steps: list[int]) -> float | None:
    """The first step at which a curve reaches half of its last value, as a share of the last step in (0, 1].

    Args:
        values: (K,) not negative.
        steps: K, rising.

    Returns:
        None if the last value is 0.

    >>> first_above_half(torch.tensor([0.0, 0.4, 0.6, 1.0]), [1, 5, 10, 20])
    0.5
    """
    last = float(values[-1])
    if last <= 0:
        return None
    place = int((values >= last / 2).int().argmax())
    return steps[place] / steps[-1]
