"""How many samples went forward and backward through a kit's networks, whoever asked them.

A kit says where its network's outputs come from (:func:`count_forward`, :func:`watch_gradient`) and wraps the hooks of
defenses (:func:`accounted`), so that no defense reports its own cost.
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bdm_core.artifacts import Data
from bdm_core.context import Context


@dataclass(eq=False)
class Passes:
    """Passes, counted per sample.

    Attributes:
        forward: samples that a network took.
        backward: samples whose gradient came back to the network's output. A second derivative counts once more.
    """

    forward: int = 0
    backward: int = 0


_OPEN: list[Passes] = []


def is_counting() -> bool:
    """Whether anything counts."""
    return bool(_OPEN)


@contextmanager
def counting() -> Iterator[Passes]:
    """Count the passes of this process while this is open.

    >>> with counting() as passes:
    ...     count_forward(3)
    >>> count_forward(2)
    >>> passes
    Passes(forward=3, backward=0)
    """
    passes = Passes()
    _OPEN.append(passes)
    try:
        yield passes
    finally:
        _OPEN.remove(passes)


def count_forward(samples: int) -> None:
    """So many samples went through a network."""
    for passes in _OPEN:
        passes.forward += samples


def watch_gradient(output: Tensor) -> None:
    """Count the samples of a network's output whose gradient comes back.

    >>> import torch
    >>> output = torch.ones(3, 2, requires_grad=True) * 2
    >>> with counting() as passes:
    ...     watch_gradient(output)
    ...     output.sum().backward()
    >>> passes.backward
    3
    """
    if _OPEN:
        output.register_hook(functools.partial(_came_back, list(_OPEN)))


def _came_back(watching: list[Passes], gradient: Tensor) -> None:
    for passes in watching:
        passes.backward += len(gradient)


def accounted(ctx: Context, data: Data | None) -> Generator[None, Any, Any]:
    """Wrap a hook of a defense: what it cost is kept with the stage, as the figure ``cost``.

    ``cost`` has ``forward_passes`` and ``backward_passes``, counted per sample, and ``clean_samples``, the clean rows
    that the defense was given. A stage that continues a killed one counts what was left to do.

    Args:
        ctx: of the hook.
        data: the defender's clean rows; None for a defense that gets none.
    """
    with counting() as passes:
        answer = yield
    rows = int(str(data.meta.get("count", 0))) if data is not None else 0
    ctx.figures(
        cost={"forward_passes": passes.forward, "backward_passes": passes.backward, "clean_samples": rows},
    )
    return answer
