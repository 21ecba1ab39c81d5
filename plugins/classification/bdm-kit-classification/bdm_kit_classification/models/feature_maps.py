"""Feature maps of a classifier within a forward pass: what its stages give, one for each size of the maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_kit_classification.models.classifier import Classifier


def stage_ends(classifier: Classifier, sample: Tensor) -> list[nn.Module]:
    """The last module of each stage: of all whose output are maps (N, C, H, W) of one size, the one that ends last.

    Stages are told apart by the size of their maps, as poolings and strides make it, from the input to the output; maps
    of one pixel do not count.

    Args:
        classifier: any.
        sample: inputs as it takes them, at least one.

    Raises:
        UserError: it has no feature maps, such as a network of tokens.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> [type(module).__name__ for module in stage_ends(classifier, torch.zeros(1, 1, 8, 8))]
    ['BatchNorm2d', 'BatchNorm2d', 'BatchNorm2d']
    """
    modules = [module for module in classifier.modules() if module is not classifier]
    found: dict[tuple[int, ...], nn.Module] = {}

    def seen(module: nn.Module, given: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            found[tuple(output.shape[2:])] = module

    hooks = [module.register_forward_hook(seen) for module in modules]
    training = classifier.training
    try:
        with torch.no_grad():
            classifier.eval()(sample[:1])
    finally:
        classifier.train(training)
        for hook in hooks:
            hook.remove()
    if not found:
        raise UserError(f"{type(classifier).__name__} has no feature maps (N, C, H, W): this method needs some")
    order = {id(module): place for place, module in enumerate(modules)}
    return sorted(found.values(), key=lambda module: order[id(module)])


@contextmanager
def outputs_of(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """What each of the modules gave last, in a list that is filled by each forward pass within the block.

    >>> layer = nn.Linear(2, 1)
    >>> with outputs_of([layer]) as outputs:
    ...     value = layer(torch.ones(3, 2))
    >>> outputs[0] is value
    True
    """
    outputs = [torch.empty(0)] * len(modules)

    def keeper(place: int):  # type: ignore[no-untyped-def]
        def keep(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[place] = output

        return keep

    hooks = [module.register_forward_hook(keeper(place)) for place, module in enumerate(modules)]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """What a module gets in each forward pass within the block, one entry for each.

    >>> layer = nn.Linear(2, 1)
    >>> with inputs_of(layer) as inputs:
    ...     value = layer(torch.ones(3, 2))
    >>> inputs[0].shape
    torch.Size([3, 2])
    """
    inputs: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    try:
        yield inputs
    finally:
        hook.remove()
