"""The first steps of sampling, the same initial noise for every prompt, and what they show: maps, noise, pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import draw_noise
from bdm_kit_text_to_image.attention.cross_attention import AttentionRecorder, cross_attention_layers, record_attention
from bdm_kit_text_to_image.models.encoding import Conditioning, encode_nothing, encode_prompts, predict, token_ids
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_torch.recording import scale_modules

MAP_SIDE = 16
"""Attention maps are taken where they have this side, as in the papers; of small latents where they are largest."""
MIDDLE = "mid_block"
"""The papers leave the attention of the UNet's middle out."""
NOTHING = torch.empty(0)


@dataclass(frozen=True)
class ChainOptions:
    """How a chain is walked.

    Attributes:
        steps: sampling steps of deterministic DDIM.
        until: only so many of them; None for all.
        guidance: scale of classifier-free guidance.
        maps: record cross-attention maps.
        scales: factors; for each, what the conditional half predicts from the same latents if what cross-attention
            gives is multiplied by it.
        batch_size: prompts at once.
    """

    steps: int = 20
    until: int | None = None
    guidance: float = 3.0
    maps: bool = False
    scales: tuple[float, ...] = ()
    batch_size: int = 64


@dataclass(frozen=True, eq=False)
class ChainPart:
    """What some prompts gave at one step.

    Attributes:
        step: its number, from 0.
        rows: of which prompts.
        noise: (N, C, h, w), the conditional half's prediction.
        empty: (N, C, h, w), the unconditional half's; equal to ``noise`` without guidance.
        maps: (N, L, h, w), the conditional half's attention to each token position, averaged over heads and over the
            layers of the level that :func:`map_level` names; None if they were not asked for.
        scaled: (N, C, h, w) for each of the options' ``scales``.
        original: (N, C, h, w), the clean latents that the step's guided prediction stands for.
        latents: (N, C, h, w), what the step leaves.
    """

    step: int
    rows: slice
    noise: Tensor
    empty: Tensor
    maps: Tensor | None
    scaled: tuple[Tensor, ...] = ()
    original: Tensor = NOTHING
    latents: Tensor = NOTHING


def walk(
    model: TextToImageModel,
    prompts: Sequence[str] | Conditioning,
    seed: int,
    options: ChainOptions,
    start: Tensor | None = None,
) -> Iterator[ChainPart]:
    """Sample from the same initial noise for every prompt, and say at each step what the network does.

    One batch of prompts after the other, all steps of each. Nothing is decoded.

    Args:
        model: opened by :func:`bdm_kit_text_to_image.models.text_to_image_model.load_model`.
        prompts: N texts, or what they were encoded to.
        seed: of the noise.
        options: see :class:`ChainOptions`.
        start: initial latents in the place of the noise: (N, C, h, w), or (1, C, h, w) for all prompts.

    Raises:
        UserError: maps are asked for at a level that has none.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> parts = list(walk(tiny_model(), ["a star", "a ring"], 0, ChainOptions(steps=3, until=2, maps=True)))
    >>> [(part.step, tuple(part.noise.shape), tuple(part.maps.shape)) for part in parts]
    [(0, (2, 4, 8, 8), (2, 77, 8, 8)), (1, (2, 4, 8, 8), (2, 77, 8, 8))]
    """
    start = (draw_noise(1, model.latent_shape, seed) if start is None else start).to(model.device)
    layers = cross_attention_layers(model.unet)
    guided = options.guidance != 1
    count = len(prompts.embeddings) if isinstance(prompts, Conditioning) else len(prompts)
    with torch.inference_mode():
        empty = encode_nothing(model, 1) if guided else None
        for first in range(0, count, options.batch_size):
            rows = slice(first, min(first + options.batch_size, count))
            given = prompts.rows(rows) if isinstance(prompts, Conditioning) else encode_prompts(model, prompts[rows])
            size = len(given.embeddings)
            both = given if empty is None else empty.repeat(size).join(given)
            scheduler = build_scheduler("ddim", model.scheduler)
            scheduler.set_timesteps(options.steps)
            x = start.expand(size, *start.shape[1:]) if len(start) == 1 else start[rows]
            for step, t in enumerate(scheduler.timesteps[: options.until]):
                recording = record_attention(model.unet, [map_level(model)]) if options.maps else nullcontext()
                with recording as recorder:
                    found = predict(model.unet, torch.cat([x, x]) if guided else x, t, both)
                without, noise = found.chunk(2) if guided else (found, found)
                scaled = []
                for factor in options.scales:
                    with scale_modules(layers, factor):
                        scaled.append(predict(model.unet, x, t, given))
                maps = None if recorder is None else _maps(recorder, size)
                after = scheduler.step(without + options.guidance * (noise - without), t, x)
                original, x = after.pred_original_sample, after.prev_sample
                yield ChainPart(step, rows, noise, without, maps, tuple(scaled), original, x)


def first_noise(
    model: TextToImageModel, prompts: Sequence[str] | Conditioning, seed: int, batch_size: int = 256
) -> Tensor:
    """What the network predicts at the first step for each prompt, from the same noise: (N, C, h, w); no guidance.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> first_noise(tiny_model(), ["a star", "a ring"], 0).shape
    torch.Size([2, 4, 8, 8])
    """
    options = ChainOptions(steps=1, guidance=1.0, batch_size=batch_size)
    parts = [part.noise for part in walk(model, prompts, seed, options)]
    return torch.cat(parts) if parts else torch.empty(0, *model.latent_shape)


def mean_maps(parts: Iterable[ChainPart]) -> Tensor:
    """Maps averaged over the steps of a walk: (N, L, h, w) on the CPU.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> mean_maps(walk(tiny_model(), ["a star"], 0, ChainOptions(steps=2, maps=True))).shape
    torch.Size([1, 77, 8, 8])
    """
    total: dict[int, Tensor] = {}
    number: dict[int, int] = {}
    for part in parts:
        assert part.maps is not None
        first = part.rows.start
        total[first] = part.maps.cpu() + total[first] if first in total else part.maps.cpu()
        number[first] = number.get(first, 0) + 1
    return torch.cat([total[first] / number[first] for first in sorted(total)])


def by_step(parts: Iterable[ChainPart], take: Callable[[ChainPart], Tensor]) -> Tensor:
    """What ``take`` gives for each part, (n, ...), put together: (S, N, ...) on the CPU.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> parts = walk(tiny_model(), ["a star"] * 3, 0, ChainOptions(steps=2, batch_size=2))
    >>> by_step(parts, lambda part: part.noise.flatten(1).norm(dim=1)).shape
    torch.Size([2, 3])
    """
    found: dict[int, list[Tensor]] = {}
    for part in parts:
        found.setdefault(part.step, []).append(take(part).cpu())
    return torch.stack([torch.cat(found[step]) for step in sorted(found)])


def map_level(model: TextToImageModel) -> int:
    """The level of the attention maps (0: the latents' resolution, 1: half of it): the first of side 16 or less that
    has attention outside of the UNet's middle.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> map_level(tiny_model())
    0
    """
    depths = {_depth(model.unet, name) for name in cross_attention_layers(model.unet) if not name.startswith(MIDDLE)}
    side = max(model.latent_shape[1:])
    fine = sorted(depth for depth in depths if -(-side // 2**depth) <= MAP_SIDE)
    if not depths:
        raise UserError("the network has cross-attention in its middle only: there are no maps to record")
    return fine[0] if fine else max(depths)


def prompt_lengths(model: TextToImageModel, prompts: Sequence[str]) -> Tensor:
    """n, the tokens of each prompt with start and end: (N,) int64; at most the model's L.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> prompt_lengths(tiny_model(), ["a star", "a red star"]).tolist()
    [4, 5]
    """
    ids = token_ids(model, prompts)
    ends = ids == model.tokenizers[0].eos_token_id
    return torch.where(ends.any(1), ends.int().argmax(1) + 1, ids.shape[1])


def _depth(unet: nn.Module, name: str) -> int:
    """How often the latents are halved where a layer lies; blocks that halve do so at their end."""
    block, number = name.split(".")[:2]
    blocks = len(unet.config.down_block_types)  # type: ignore[union-attr]
    return int(number) if block == "down_blocks" else blocks - 1 - int(number)


def _maps(recorder: AttentionRecorder, rows: int) -> Tensor:
    """The conditional half's maps of the last call, averaged over the layers outside of the middle."""
    named = recorder.steps[-1]
    kept = [maps for name, maps in named.items() if not name.startswith(MIDDLE)]
    return torch.stack(kept).mean(0)[-rows:]
