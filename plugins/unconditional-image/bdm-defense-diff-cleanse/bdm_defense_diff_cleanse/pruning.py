"""Structural pruning guided by the inverted trigger (Diff-Cleanse, 2407.21316, section 4.3).

What is removed is a channel between the two convolutions of a residual block, the same for all pixels and timesteps.
Its importance for a loss L is the first-order Taylor term (Molchanov et al., 1906.10771), summed over its weights w:

    I = sum |w dL/dw|, over the mean of I in its block.

L is the denoising loss at the noisiest timesteps: on clean samples, and on samples whose noise carries the trigger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_torch.draws import Draw


@dataclass(frozen=True)
class Block:
    """A residual block whose inner channels can be removed; ``name`` is its place in the network."""

    name: str
    module: ResnetBlock2D

    @property
    def channels(self) -> int:
        return int(self.module.conv1.out_channels)


def prunable(network: nn.Module) -> list[Block]:
    """The residual blocks of a diffusers UNet."""
    return [Block(name, module) for name, module in network.named_modules() if isinstance(module, ResnetBlock2D)]


def weights_of(block: Block) -> list[tuple[Tensor, int]]:
    """The weights that belong to inner channels, each with the dimension that counts the channels."""
    module = block.module
    found = [
        (module.conv1.weight, 0),
        (module.conv1.bias, 0),
        (module.norm2.weight, 0),
        (module.norm2.bias, 0),
        (module.conv2.weight, 1),
    ]
    if module.time_emb_proj is not None and module.time_emb_proj.out_features == block.channels:
        found += [(module.time_emb_proj.weight, 0), (module.time_emb_proj.bias, 0)]
    return [(weight, dimension) for weight, dimension in found if weight is not None]


def importance(block: Block) -> Tensor:
    """I of every channel, (channels,), from the gradients that the weights hold."""
    total = torch.zeros(block.channels, dtype=torch.float64)
    for weight, dimension in weights_of(block):
        if weight.grad is not None:
            term = (weight.detach() * weight.grad).abs().double().cpu()
            total += term.transpose(0, dimension).flatten(1).sum(1) if term.ndim > 1 else term
    return total / total.mean().clamp(min=1e-12)


def importances(
    network: nn.Module,
    scheduler: Any,
    images: Tensor,
    trigger: Tensor | None,
    params: DiffCleanseParams,
    *,
    seed: int,
    device: str,
) -> dict[str, Tensor]:
    """Block -> I of its channels, from gradients summed over ``importance_batches`` batches.

    The loss is || M(a_t x_0 + s_t (eps + tau), t) - eps ||^2 at timesteps of the share above ``importance_start``;
    tau = 0 without a trigger.

    Args:
        network: on ``device``; its gradients are dropped in the end.
        scheduler: has ``alphas_cumprod``.
        images: clean, (N, C, H, W) in [-1, 1].
        trigger: tau, (C, H, W), or None.
        params: batches, their size, first timestep.
        seed: of batches and noise, the same with and without a trigger.
        device: of the network.
    """
    abar = scheduler.alphas_cumprod.float().to(device)
    first = min(int(params.importance_start * len(abar)), len(abar) - 1)
    shift = torch.zeros(images.shape[1:]) if trigger is None else trigger
    network.zero_grad(set_to_none=True)
    for step in range(params.importance_batches):
        draw = Draw(seed, step, params.batch_size, torch.device(device))
        clean = images[draw.rows(len(images))].to(device)
        t = first + draw.timesteps(len(abar) - first)
        noise = draw.normal(*images.shape[1:])
        level = abar[t].view(-1, 1, 1, 1)
        noisy = level.sqrt() * clean + (1 - level).sqrt() * (noise + shift.to(device))
        functional.mse_loss(network(noisy, t).sample, noise).backward()
    found = {block.name: importance(block) for block in prunable(network)}
    network.zero_grad(set_to_none=True)
    return found


def choose(clean: dict[str, Tensor], triggered: dict[str, Tensor], params: DiffCleanseParams) -> list[tuple[str, int]]:
    """The channels to remove, (block, channel): those of the highest sum or difference; a block keeps at least half."""
    sign = 1.0 if params.pruning_rule == "sum" else -1.0
    ranked = sorted(
        (
            (float(value), name, channel)
            for name in triggered
            for channel, value in enumerate(triggered[name] + sign * clean[name])
        ),
        key=lambda item: (-item[0], item[1], item[2]),
    )
    wanted = round(params.pruned_share * len(ranked))
    room = {name: len(values) // 2 for name, values in triggered.items()}
    chosen: list[tuple[str, int]] = []
    for _, name, channel in ranked:
        if len(chosen) == wanted:
            break
        if room[name]:
            room[name] -= 1
            chosen.append((name, channel))
    return chosen


@torch.no_grad()
def remove_channels(network: nn.Module, channels: list[tuple[str, int]]) -> None:
    """Cut channels off: nothing of them reaches the second convolution, and no training brings them back.

    The affine weights of their normalisation and the second convolution's weights on them become 0: then the gradients
    of all of these are exactly 0 as well, since the activation of 0 is 0.

    Raises:
        UserError: the activation of the network is not 0 at 0.
    """
    blocks = {block.name: block for block in prunable(network)}
    for name, channel in channels:
        module = blocks[name].module
        if float(module.nonlinearity(torch.zeros(1))) != 0:
            raise UserError(f"diff-cleanse cannot prune {name}: its activation is not 0 at 0")
        module.norm2.weight[channel] = 0
        module.norm2.bias[channel] = 0
        module.conv2.weight[:, channel] = 0
        if module.time_emb_proj is not None and module.time_emb_proj.out_features == 2 * blocks[name].channels:
            for row in (channel, channel + blocks[name].channels):
                module.time_emb_proj.weight[row] = 0
                module.time_emb_proj.bias[row] = 0
