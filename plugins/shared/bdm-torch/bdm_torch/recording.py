"""Outputs of a network's modules, reduced as they appear; attention maps have a recorder of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from bdm_core.errors import UserError

Select = Callable[[str, nn.Module], bool]
Reduce = Callable[[Tensor], Tensor]


@dataclass
class OutputRecorder:
    """What was kept of every call of a network.

    Attributes:
        calls: for each kept call module name -> reduced output, in the order of the modules' first use.
        seen: calls so far, kept or not.
    """

    calls: list[dict[str, Tensor]] = field(default_factory=list)
    seen: int = 0


def is_leaf_with_weights(name: str, module: nn.Module) -> bool:
    """Whether a module is a linear layer or a convolution of two dimensions."""
    return isinstance(module, nn.Linear | nn.Conv2d)


def spatial_mean(output: Tensor) -> Tensor:
    """Mean over positions of a convolution's output (N, C, H, W): (N, C); everything else as it is."""
    return output.mean((2, 3)) if output.ndim == 4 else output


@contextmanager
def record_outputs(
    network: nn.Module,
    select: Select = is_leaf_with_weights,
    reduce: Reduce = spatial_mean,
    *,
    steps: Callable[[int], bool] | None = None,
    rows: slice = slice(None),
    inputs: bool = False,
) -> Iterator[OutputRecorder]:
    """Record what modules of a network give in every call while the context is open; outputs do not change.

    Args:
        network: a UNet or a text encoder.
        select: (name, module) -> whether to record it.
        reduce: what is kept of an output (N, ...), before the next module runs.
        steps: number of a call, from 0 -> whether to keep it; None for all.
        rows: rows of the batch to keep, e.g. the conditional half of guidance.
        inputs: record what the modules get, their first argument, instead of what they give.

    Raises:
        UserError: no module is selected.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> with record_outputs(net, steps=lambda call: call == 1) as recorder:
    ...     _ = [net(torch.ones(4, 2)) for _ in range(3)]
    >>> {name: tuple(kept.shape) for name, kept in recorder.calls[0].items()}, recorder.seen
    ({'0': (4, 3), '2': (4, 1)}, 3)
    """
    chosen = {name: module for name, module in network.named_modules() if name and select(name, module)}
    if not chosen:
        raise UserError(f"no module of {type(network).__name__} is selected: there is nothing to record")
    recorder = OutputRecorder()
    keeping = [False]

    def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
        keeping[0] = steps is None or steps(recorder.seen)
        recorder.seen += 1
        if keeping[0]:
            recorder.calls.append({})

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if keeping[0]:
                seen = args[0] if inputs else output
                value = seen if isinstance(seen, Tensor) else seen[0]
                recorder.calls[-1][name] = reduce(value[rows].detach())

        return hook

    handles = [network.register_forward_pre_hook(begin, with_kwargs=True)]
    handles += [module.register_forward_hook(keep(name)) for name, module in chosen.items()]
    try:
        yield recorder
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def scale_modules(modules: Mapping[str, nn.Module], factor: float) -> Iterator[None]:
    """Multiply what some modules give by a factor while the context is open.

    >>> import torch
    >>> layer = nn.Linear(2, 2)
    >>> with scale_modules({"layer": layer}, 0.0):
    ...     float(layer(torch.ones(1, 2)).abs().sum())
    0.0
    """

    def scaled(module: nn.Module, args: Any, output: Any) -> Any:
        return output * factor if isinstance(output, Tensor) else (output[0] * factor, *output[1:])

    handles = [module.register_forward_hook(scaled) for module in modules.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
