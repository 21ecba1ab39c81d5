"""How many samples went forward and backward through classifiers, whoever asked them.

:class:`~bdm_kit_classification.models.classifier.Classifier` counts its own passes while :func:`counting` is open, so
that copies, new networks of the same architecture and black boxes count too, and no defense needs to do anything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Data
from bdm_core.context import Context


@dataclass(eq=False)
class Passes:
    """Passes, counted per sample.

    Attributes:
        forward: samples that a classifier took, in :meth:`forward` or :meth:`features`.
        backward: samples whose gradient came back from the features, or from the logits where the features need none.
            A second derivative counts once more. A gradient that only reaches layers below the features directly, from
            a hook there, is not seen.
    """

    forward: int = 0
    backward: int = 0


_OPEN: list[Passes] = []


class _Depth:
    """How deep within a classifier's methods this process is, and whether the features of the pass need a gradient."""

    calls = 0
    watched = False


@contextmanager
def counting() -> Iterator[Passes]:
    """Count the passes of all classifiers of this process while this is open.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> pictures = torch.zeros(3, 1, 8, 8)
    >>> with counting() as passes:
    ...     classifier(pictures).sum().backward()
    ...     with torch.no_grad():
    ...         seen = classifier.features(pictures[:2])
    >>> passes
    Passes(forward=5, backward=3)
    """
    passes = Passes()
    _OPEN.append(passes)
    try:
        yield passes
    finally:
        _OPEN.remove(passes)


def counted(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A method of a classifier from samples to logits or features, which counts its passes; one within another does not
    count twice.
    """

    @functools.wraps(method)
    def pass_through(self: Any, inputs: Any, *more: Any, **options: Any) -> Tensor:
        if not _OPEN:
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
            for passes in _OPEN:
                passes.forward += len(output)
        if output.requires_grad and torch.is_grad_enabled() and not _Depth.watched:
            _Depth.watched = True
            output.register_hook(functools.partial(_came_back, list(_OPEN)))
        return output

    return pass_through


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
