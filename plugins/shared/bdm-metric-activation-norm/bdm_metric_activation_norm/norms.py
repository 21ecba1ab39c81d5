"""Norms of units (Wanda's and ConceptPrune's statistic, Chavhan et al., arXiv 2405.19237), step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bdm_torch.recording import record_outputs

SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Parts of the chain at whose ends units are looked at: of 50 steps numbers 9, 19, 29, 39, 49, counted from 0."""
Run = Callable[[str, slice], None]
"""(``clean`` or ``triggered``, which samples) -> the network is called, once for each step."""


@dataclass(frozen=True, eq=False)
class Looked:
    """A network that can be run on two sides.

    Attributes:
        network: the modules' owner.
        run: runs it on some samples of one side.
        count: N.
        steps: calls of the network in a run.
        select: (name, module) -> whether to look at it.
        inputs: what the modules get counts, not what they give.
        guided: a call has the unconditional half first.
    """

    network: nn.Module
    run: Run
    count: int
    steps: int
    select: Callable[[str, nn.Module], bool]
    inputs: bool
    guided: bool


def kept_steps(steps: int) -> list[int]:
    """The calls that are looked at, counted from 0.

    >>> kept_steps(50), kept_steps(2), kept_steps(1)
    ([9, 19, 29, 39, 49], [0, 1], [0])
    """
    return sorted({max(0, math.ceil(share * steps - 1e-9) - 1) for share in SHARES})


def mean_squares(output: Tensor) -> Tensor:
    """(U,): the mean over rows of the squares of a unit's values, each row divided by its Euclidean norm before.

    Args:
        output: (N, U, H, W), (N, L, U) or (N, U); every position of every sample is a row.

    >>> mean_squares(torch.tensor([[3.0, 4.0], [0.0, 2.0]])).tolist()
    [0.18000000715255737, 0.8200000524520874]
    """
    rows = (output.movedim(1, -1) if output.ndim == 4 else output).flatten(0, -2).float()
    rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return rows.square().mean(0)


def unit_norms(looked: Looked, side: str, batch_size: int) -> dict[str, Tensor]:
    """Layer -> (K, U) root of the mean of :func:`mean_squares` over all samples, at the K steps of :func:`kept_steps`.

    The published norm is this times the root of the number of rows, which differs from layer to layer.
    """
    kept, totals = kept_steps(looked.steps), dict[str, Tensor]()
    for start in range(0, looked.count, batch_size):
        rows = slice(start, min(start + batch_size, looked.count))
        size = rows.stop - rows.start
        half = slice(size, None) if looked.guided else slice(None)
        with (
            torch.no_grad(),
            record_outputs(
                looked.network,
                looked.select,
                mean_squares,
                steps=lambda call: call in kept,
                rows=half,
                inputs=looked.inputs,
            ) as recorder,
        ):
            looked.run(side, rows)
        for name in recorder.calls[0]:
            found = torch.stack([call[name].double().cpu() for call in recorder.calls]) * size
            totals[name] = totals[name] + found if name in totals else found
    return {name: (total / looked.count).sqrt() for name, total in totals.items()}
