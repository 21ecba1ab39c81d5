"""How many samples went forward and backward through classifiers, whoever asked them.

:class:`~bdm_kit_classification.models.classifier.Classifier` counts its own passes while
:func:`bdm_torch.passes.counting` is open, so that copies, new networks of the same architecture and black boxes count
too, and no defense needs to do anything. A gradient counts where it comes back to the features, or to the logits where
the features need none; one that only reaches layers below the features directly, from a hook there, is not seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bdm_torch.passes import count_forward, is_counting, watch_gradient


class _Depth:
    """How deep within a classifier's methods this process is, and whether the features of the pass need a gradient."""

    calls = 0
    watched = False


def counted(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A method of a classifier from samples to logits or features, which counts its passes; one within another does not
    count twice.
    """

    @functools.wraps(method)
    def pass_through(self: Any, inputs: Any, *more: Any, **options: Any) -> Tensor:
        if not is_counting():
            return method(self, inputs, *more, **options)
        outermost = _Depth.calls == 0
        if outermost:
            _Depth.watched = False
        _Depth.calls += 1
        try:
            output = method(self, inputs, *more, **options)
        finally:
            _Depth.calls -= 1
        if outermost:
            count_forward(len(output))
        if output.requires_grad and torch.is_grad_enabled() and not _Depth.watched:
            _Depth.watched = True
            watch_gradient(output)
        return output

    return pass_through
