"""The plane through a clean prompt, the triggered one and the target, and what a model paints on it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_kit_text_to_image.analysis.pairs import Pairs
from bdm_kit_text_to_image.models.encoding import Conditioning, add_noise, encode_prompts
from bdm_kit_text_to_image.models.latents import decode_latents, encode_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.recording.chain import ChainOptions, walk

Point = tuple[float, float]
"""Share of the way from clean to triggered, share of the way from clean to the target."""


@dataclass(frozen=True, eq=False)
class Corners:
    """Three points, each a text embedding with an initial latent.

    Attributes:
        texts: three rows: clean, triggered, target.
        starts: (3, C, h, w).
        target: what the third corner is, in words.
    """

    texts: Conditioning
    starts: Tensor
    target: str


def corners(pairs: Pairs, row: int) -> Corners:
    """The corners of one pair's plane: of text embeddings, or of initial latents for a trigger that lies there."""
    prompts, starts = pairs.prompts, pairs.starts()
    clean, triggered = prompts["clean"][row], prompts["triggered"][row]
    one, other = starts["clean"][row], starts["triggered"][row]
    if pairs.shift is None:
        wanted, said = target_prompt(pairs, row)
        with torch.no_grad():
            texts = encode_prompts(pairs.model, [clean, triggered, wanted])
        return Corners(texts, torch.stack([one] * 3), said)
    with torch.no_grad():
        texts = encode_prompts(pairs.model, [clean] * 3)
    if pairs.secret.picture is None:
        third = pairs.starts(len(pairs.rows) + 1)["clean"][-1]
        return Corners(texts, torch.stack([one, other, third]), "another initial noise")
    latents = encode_images(pairs.model, pairs.secret.picture[None]).cpu()
    last = torch.tensor([pairs.model.timesteps - 1])
    noised = add_noise(pairs.model.scheduler, latents, one[None], last)[0]
    return Corners(texts, torch.stack([one, other, noised]), "the initial noise with the target's picture in it")


def target_prompt(pairs: Pairs, row: int) -> tuple[str, str]:
    """A prompt that asks for the target in plain words, and what to call it; another clean prompt if there is none.

    Without a prompt in the secret a replaced object is put in the place of the prompt's own.
    """
    own = pairs.rows[row]
    target = pairs.secret.targets[own.backdoor or 0]
    if target.prompt:
        return target.prompt, f"the target's prompt: {target.prompt}"
    twin, named = own.twin or "", own.labels.get("object", "")
    if target.object and named and (made := re.sub(rf"\b{re.escape(named)}\b", target.object, twin)) != twin:
        return made, f"the target in plain words: {made}"
    another = pairs.prompts["clean"][(row + 1) % len(pairs.rows)]
    return another, f"another clean prompt: {another}"


def mixed(corner: Corners, points: list[Point]) -> tuple[Conditioning, Tensor]:
    """clean + a (triggered - clean) + b (target - clean) for each point (a, b).

    >>> texts = Conditioning(torch.tensor([[[0.0]], [[1.0]], [[10.0]]]))
    >>> found, starts = mixed(Corners(texts, torch.zeros(3, 1, 1, 1), ""), [(0.5, 0.0), (1.0, 0.5)])
    >>> found.embeddings.flatten().tolist(), starts.shape
    ([0.5, 6.0], torch.Size([2, 1, 1, 1]))
    """
    shares = torch.tensor([[1 - a - b, a, b] for a, b in points])

    def mix(part: Tensor) -> Tensor:
        return torch.einsum("nk,k...->n...", shares.to(part), part)

    return corner.texts.each(mix), mix(corner.starts)


def paint(model: TextToImageModel, corner: Corners, points: list[Point], options: ChainOptions) -> Tensor:
    """The picture of each point: (n, 3, H, W) in [-1, 1] on the CPU."""
    texts, starts = mixed(corner, points)
    images = []
    for part in walk(model, texts, 0, options, starts):
        if part.step == options.steps - 1:
            with torch.no_grad():
                images.append(decode_latents(model, part.latents).float().cpu())
    return torch.cat(images)


def grid(points: int, margin: float) -> list[Point]:
    """The points of a square with so many on a side, row by row, the target's direction upwards.

    >>> grid(3, 0.0)[:4]
    [(0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (0.0, 0.5)]
    """
    places = torch.linspace(-margin, 1 + margin, points).tolist()
    return [(a, b) for b in reversed(places) for a in places]
