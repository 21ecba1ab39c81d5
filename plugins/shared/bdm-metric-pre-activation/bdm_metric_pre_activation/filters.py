"""Scores of filters, and their pre-activations (as EP and BNP look at them, Zheng et al., NeurIPS 2022)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_torch.recording import record_outputs

ENDS = ("conv_in", "conv_out")


@dataclass(frozen=True, eq=False)
class Suspect:
    """A network, what the trigger does to it, and how it samples.

    Attributes:
        network: a UNet, gradients off.
        loss: number of a draw -> how far the answer with the trigger is from the clean one, with gradients if the
            network's parameters want some. The same number is the same noise and timesteps.
        run: (``clean`` or ``triggered``, which samples) -> the network is called, once for each step.
        count: N samples.
        steps: calls of the network in a run.
        guided: a call of :attr:`run` has the unconditional half first.
    """

    network: nn.Module
    loss: Callable[[int], Tensor]
    run: Callable[[str, slice], None]
    count: int
    steps: int
    guided: bool


def is_inner(name: str, module: nn.Module) -> bool:
    """A convolution that is not the first or the last one of the network."""
    return isinstance(module, nn.Conv2d) and not name.endswith(ENDS)


def first_convolutions(suspect: Suspect, count: int) -> dict[str, nn.Conv2d]:
    """The first inner convolutions in the order of their use. Raises UserError if there is none."""
    with torch.no_grad(), record_outputs(suspect.network, is_inner, lambda output: output[:0]) as recorder:
        suspect.loss(0)
    modules = dict(suspect.network.named_modules())
    found = {name: modules[name] for name in list(recorder.calls[0])[:count]}
    convolutions = {name: module for name, module in found.items() if isinstance(module, nn.Conv2d)}
    if not convolutions:
        raise UserError("metric:pre-activation: the network uses no inner convolution")
    return convolutions


def taylor_scores(suspect: Suspect, layers: dict[str, nn.Conv2d], draws: int) -> dict[str, Tensor]:
    """Layer -> (F,): the sum over a filter's weights of |w g|, g the mean gradient of the loss over the draws."""
    weights = [layer.weight.requires_grad_() for layer in layers.values()]
    totals = [torch.zeros_like(weight) for weight in weights]
    try:
        with torch.enable_grad():
            for draw in range(draws):
                for total, found in zip(totals, torch.autograd.grad(suspect.loss(draw), weights), strict=True):
                    total += found / draws
    finally:
        for weight in weights:
            weight.requires_grad_(False)
    return {
        name: (weight * total).detach().abs().flatten(1).sum(1).double().cpu()
        for name, weight, total in zip(layers, weights, totals, strict=True)
    }


def ablation_scores(suspect: Suspect, layers: dict[str, nn.Conv2d], draws: int) -> dict[str, Tensor]:
    """Layer -> (F,): by how much the loss falls if the filter gives zero, both over the same draws."""

    def mean() -> float:
        return sum(float(suspect.loss(draw)) for draw in range(draws)) / draws

    found = {}
    with torch.no_grad():
        whole = mean()
        for name, layer in layers.items():
            scores = []
            for number in range(layer.out_channels):
                kept = [part[number].clone() for part in parts_of(layer)]
                try:
                    for part in parts_of(layer):
                        part[number] = 0
                    scores.append(whole - mean())
                finally:
                    for part, own in zip(parts_of(layer), kept, strict=True):
                        part[number] = own
            found[name] = torch.tensor(scores, dtype=torch.float64)
    return found


def parts_of(layer: nn.Conv2d) -> list[Tensor]:
    """Weight and, if there is one, bias."""
    return [layer.weight] if layer.bias is None else [layer.weight, layer.bias]


def peaks(output: Tensor) -> Tensor:
    """(N, F): the largest value of each map, after every position is divided by its norm over the channels.

    Args:
        output: (N, F, H, W), of a convolution.

    >>> peaks(torch.tensor([[[[3.0, 0.0]], [[4.0, -2.0]]]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    return (output / output.norm(dim=1, keepdim=True).clamp(min=1e-12)).amax((2, 3))


def answers(suspect: Suspect, layers: dict[str, nn.Conv2d], side: str, step: int, batch_size: int) -> dict[str, Tensor]:
    """Layer -> (N, F): the :func:`peaks` of all samples of one side at one step, counted from 1; at most the last."""
    call, parts = min(step, suspect.steps) - 1, list[dict[str, Tensor]]()
    for start in range(0, suspect.count, batch_size):
        rows = slice(start, min(start + batch_size, suspect.count))
        half = slice(rows.stop - rows.start, None) if suspect.guided else slice(None)
        with (
            torch.no_grad(),
            record_outputs(
                suspect.network,
                lambda name, module: name in layers,
                peaks,
                steps=lambda number: number == call,
                rows=half,
            ) as recorder,
        ):
            suspect.run(side, rows)
        parts.append({name: value.double().cpu() for name, value in recorder.calls[0].items()})
    return {name: torch.cat([part[name] for part in parts]) for name in layers}
