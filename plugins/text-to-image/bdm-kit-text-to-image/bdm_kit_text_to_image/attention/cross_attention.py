"""Recording of cross-attention maps through attention processors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from bdm_core.errors import UserError


@dataclass
class AttentionRecorder:
    """The maps of every call of a network, in order.

    Attributes:
        steps: for each call layer name -> (N, tokens, h, w): the attention of each position to each token, averaged
            over heads; over tokens it sums to one. With guidance N counts unconditional and conditional rows.
        size: height and width of the latents in the last call.
    """

    steps: list[dict[str, Tensor]] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)

    @property
    def levels(self) -> list[int]:
        """The levels with maps: how often the latents' side is halved there, 0 for their own resolution."""
        found = {_level(self.size, maps.shape[-2] * maps.shape[-1]) for step in self.steps for maps in step.values()}
        return sorted(found)

    def maps(self, level: int | None = None, rows: slice | Sequence[int] | None = None) -> Tensor:
        """The maps of one level, averaged over its layers.

        Args:
            level: see :attr:`levels`; None for the finest one that was recorded.
            rows: rows of the batch to keep, e.g. the conditional half; None for all.

        Returns:
            (S, N, tokens, h, w) for S calls.

        Raises:
            UserError: nothing was recorded at this level.
        """
        levels = self.levels
        level = levels[0] if level is None and levels else level
        if level not in levels:
            raise UserError(f"no attention was recorded at level {level}: recorded are {levels or 'none'}")
        means = []
        for step in self.steps:
            chosen = [maps for maps in step.values() if _level(self.size, maps.shape[-2] * maps.shape[-1]) == level]
            means.append(torch.stack(chosen).mean(dim=0))
        stacked = torch.stack(means)
        return stacked if rows is None else stacked[:, rows]


class _Recording:
    """An attention processor that notes the map and lets the layer's own processor do the work."""

    def __init__(self, name: str, own: Any, recorder: AttentionRecorder, keep: Callable[[int], bool], graph: bool):
        self.name, self.own, self.recorder, self.keep, self.graph = name, own, recorder, keep, graph

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        out: Tensor = self.own(attn, hidden_states, encoder_hidden_states, attention_mask, *args, **kwargs)
        size = self.recorder.size
        level = _level(size, hidden_states.shape[1])
        if encoder_hidden_states is not None and self.keep(level):
            with torch.set_grad_enabled(self.graph and torch.is_grad_enabled()):
                text = (
                    attn.norm_encoder_hidden_states(encoder_hidden_states)
                    if attn.norm_cross
                    else (encoder_hidden_states)
                )
                query = attn.head_to_batch_dim(attn.to_q(hidden_states))
                key = attn.head_to_batch_dim(attn.to_k(text))
                mask = attn.prepare_attention_mask(attention_mask, text.shape[1], len(text))
                maps = attn.get_attention_scores(query, key, mask)
                maps = maps.unflatten(0, (-1, attn.heads)).mean(dim=1).transpose(1, 2)
                shape = (-(-size[0] // 2**level), -(-size[1] // 2**level))
                self.recorder.steps[-1][self.name] = maps.unflatten(-1, shape)
        return out


@contextmanager
def record_attention(
    unet: nn.Module, levels: Sequence[int] | None = None, *, graph: bool = False
) -> Iterator[AttentionRecorder]:
    """Record the cross-attention maps of every call of a network while the context is open.

    Outputs do not change: each layer's own processor computes them. Afterwards the processors are back in place.

    Args:
        unet: a ``UNet2DConditionModel``, of Stable Diffusion or SDXL, called with latents (N, C, H, W).
        levels: keep the maps of these levels only (0: the latents' resolution, 1: half of it, ...); None for all.
        graph: keep the maps differentiable.

    Raises:
        UserError: the network has no cross-attention.

    >>> from bdm_kit_text_to_image.models.encoding import encode_prompts, predict
    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model, latents = tiny_model(), torch.zeros(1, 4, 8, 8)
    >>> with record_attention(model.unet) as recorder:
    ...     _ = predict(model.unet, latents, torch.tensor([10]), encode_prompts(model, ["a star"]))
    >>> maps = recorder.maps()
    >>> recorder.levels, maps.shape, torch.allclose(maps.sum(2), torch.tensor(1.0))
    ([0, 1], torch.Size([1, 1, 77, 8, 8]), True)
    """
    layers = cross_attention_layers(unet)
    recorder = AttentionRecorder()

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sample = args[0] if args else kwargs["sample"]
        recorder.size = (sample.shape[-2], sample.shape[-1])
        recorder.steps.append({})

    def keep(level: int) -> bool:
        return levels is None or level in levels

    own = {name: layer.processor for name, layer in layers.items()}
    hook = unet.register_forward_pre_hook(begin, with_kwargs=True)
    try:
        for name, layer in layers.items():
            layer.processor = _Recording(name, own[name], recorder, keep, graph)
        yield recorder
    finally:
        hook.remove()
        for name, layer in layers.items():
            layer.processor = own[name]


def cross_attention_layers(unet: nn.Module) -> dict[str, Attention]:
    """Name -> layer for every cross-attention to the text.

    Args:
        unet: a ``UNet2DConditionModel``.

    Raises:
        UserError: there is none.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> len(cross_attention_layers(tiny_model().unet))
    4
    >>> cross_attention_layers(nn.Linear(1, 1))
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: Linear has no cross-attention layer: give a text-conditional UNet
    """
    found = {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and module.is_cross_attention
    }
    if not found:
        raise UserError(f"{type(unet).__name__} has no cross-attention layer: give a text-conditional UNet")
    return found


def _level(size: tuple[int, int], positions: int) -> int:
    """How often the latents' side was halved to have so many positions."""
    for level in range(16):
        if -(-size[0] // 2**level) * -(-size[1] // 2**level) == positions:
            return level
    raise UserError(f"an attention layer has {positions} positions, no halving of latents of {size[0]}x{size[1]}")
