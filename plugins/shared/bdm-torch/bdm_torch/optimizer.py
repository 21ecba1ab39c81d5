"""AdamW, gradient clipping and the average of the weights, to the bit those of PyTorch, at half their cost.

A step of ``torch.optim.AdamW`` collects its state from dictionaries and sorts its tensors by device and type each time;
for networks of a hundred small tensors that takes longer than the arithmetic. Its first use also imports PyTorch's
compiler. Here the one is done once, the other never. The kernels are PyTorch's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """AdamW with decoupled weight decay (Loshchilov and Hutter, 1711.05101); without it, Adam (1412.6980).

    It has what the training loop, its checkpoints and a ``torch.amp.GradScaler`` need of a ``torch.optim.Optimizer``:
    one group in ``param_groups``, with ``params`` and ``lr``, and a state in PyTorch's layout.

    Args:
        parameters: what is optimised, on one device. One without a gradient is left as it is in that step.
        learning_rate: of the first step; ``param_groups[0]["lr"]`` is that of the next.
        weight_decay: a step takes ``learning_rate * weight_decay`` of every parameter away.
        fused: one kernel for all tensors, for the CPU and CUDA; else operation by operation.

    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = AdamW([weight], learning_rate=0.1)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> round(weight.item(), 4)
    0.9
    """

    def __init__(
        self, parameters: Iterable[Tensor], *, learning_rate: float, weight_decay: float = 0.0, fused: bool = False
    ) -> None:
        self.parameters = list(parameters)
        self.param_groups: list[dict[str, Any]] = [{"params": self.parameters, "lr": learning_rate}]
        self._weight_decay, self._fused = weight_decay, fused
        self._first = [torch.zeros_like(p, memory_format=torch.preserve_format) for p in self.parameters]
        self._second = [torch.zeros_like(p, memory_format=torch.preserve_format) for p in self.parameters]
        self._counts = self._new_counts(0.0)
        kinds = [(p.device, p.dtype) for p in self.parameters]
        self._groups = [[i for i, kind in enumerate(kinds) if kind == group] for group in dict.fromkeys(kinds)]

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients."""
        gradients = {index: p.grad for index, p in enumerate(self.parameters) if p.grad is not None}
        if len(gradients) < len(self.parameters) and self._counts_are_shared():
            self._counts = [count.clone() for count in self._counts]
        if self._counts_are_shared():
            self._counts[0].add_(1)
        for group in self._groups:
            self._update([index for index in group if index in gradients], gradients)

    def _update(self, chosen: list[int], gradients: dict[int, Tensor]) -> None:
        """Update the parameters of these numbers, which are of one type."""
        values = (self.parameters, gradients, self._first, self._second, self._counts)
        parameters, slopes, first, second, counts = ([found[index] for index in chosen] for found in values)
        beta1, beta2 = BETAS
        options: dict[str, Any] = {"lr": self.param_groups[0]["lr"], "weight_decay": self._weight_decay, "eps": EPSILON}
        options |= {"beta1": beta1, "beta2": beta2, "amsgrad": False, "maximize": False}
        if not chosen:
            return
        if self._fused:
            if not self._counts_are_shared():
                torch._foreach_add_(counts, 1)
            torch._fused_adamw_(parameters, slopes, first, second, [], counts, **options)
        else:
            adamw(parameters, slopes, first, second, [], counts, foreach=False, fused=False, **options)

    def state_dict(self) -> dict[str, Any]:
        """The state of each parameter by its number, ``step``, ``exp_avg`` and ``exp_avg_sq``, and the groups."""
        parts = {"step": self._counts, "exp_avg": self._first, "exp_avg_sq": self._second}
        numbers = range(len(self.parameters))
        state = {index: {name: values[index] for name, values in parts.items()} for index in numbers}
        return {"state": state, "param_groups": [{**self.param_groups[0], "params": list(numbers)}]}

    @torch.no_grad()
    def load_state_dict(self, found: dict[str, Any]) -> None:
        """Put the state back, in place. Raises KeyError or RuntimeError for that of other parameters."""
        state, numbers = found["state"], range(len(self.parameters))
        steps = [float(state[index]["step"]) for index in numbers]
        self._counts = self._new_counts(steps[0] if steps else 0.0)
        if len(set(steps)) > 1:
            self._counts = [torch.full_like(count, step) for count, step in zip(self._counts, steps, strict=True)]
        for name, values in (("exp_avg", self._first), ("exp_avg_sq", self._second)):
            for index in numbers:
                values[index].copy_(state[index][name])

    def _new_counts(self, value: float) -> list[Tensor]:
        """The numbers of steps: one for all where the kernel does not count itself."""
        if self._fused and self.parameters:
            return [torch.full((), value, device=self.parameters[0].device)] * len(self.parameters)
        return [torch.full((), value) for _ in self.parameters]

    def _counts_are_shared(self) -> bool:
        return self._fused and len(self._counts) > 1 and self._counts[0] is self._counts[1]


def clip_gradients(parameters: Sequence[Tensor], largest: float) -> None:
    """Scale all gradients so that their common 2-norm is at most ``largest``, as ``clip_grad_norm_`` does.

    >>> weight = torch.zeros(2, requires_grad=True)
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip_gradients([weight], 1.0)
    >>> [round(value, 3) for value in weight.grad.tolist()]
    [0.6, 0.8]
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    with torch.no_grad():
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2.0)))
        factor = torch.clamp(largest / (norm + 1e-6), max=1.0)
        if factor.device.type == "cpu" and factor.item() == 1:  # nothing to wait for, nothing to do
            return
        torch._foreach_mul_(gradients, factor)


def follow(averages: list[Tensor], parameters: list[Tensor], decay: float) -> None:
    """Move averages towards the parameters: average <- decay * average + (1 - decay) * parameter.

    >>> average = torch.zeros(1)
    >>> follow([average], [torch.ones(1)], decay=0.75)
    >>> average.item()
    0.25
    """
    with torch.no_grad():
        torch._foreach_lerp_(averages, parameters, 1 - decay)
