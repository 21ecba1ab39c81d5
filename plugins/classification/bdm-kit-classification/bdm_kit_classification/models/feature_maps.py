"""Feature maps of a classifier within a forward pass: what its stages give, one for each size of the maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.models.trial import examples_for

OF_TOKENS = (nn.Linear, nn.LayerNorm)
"""What gives something of each token, (N, T, C), in a network of tokens."""


def require_feature_maps(model: Model) -> None:
    """Refuse a sealed model without feature maps.

    Raises:
        UserError: as :func:`stage_ends`.
        ArtifactError: as :func:`bdm_kit_classification.models.classifier.load_classifier`.
    """
    classifier = load_classifier(model)
    stage_ends(classifier, examples_for(classifier))


def stage_ends(classifier: Classifier, sample: Tensor) -> list[nn.Module]:
    """The last module of each stage: of all whose output are maps (N, C, H, W) of one size, the one that ends last.

    Stages are told apart by the size of their maps, as poolings and strides make it, from the input to the output. Maps
    of one pixel do not count, nor does what lies inside a module whose own output is of another size. What is no module
    (a ReLU or pooling that is called as a function) ends nothing: of the kit's small networks and VGG these are
    normalisations, whose ReLU comes after them; of PreAct-ResNet18 the last block of each size, but the normalisation
    behind all blocks for the last size. A network that goes on with tokens behind its maps, as a ViT does behind the
    maps of its patches, has none.

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
    modules = {name: module for name, module in classifier.named_modules() if name}
    names = {id(module): name for name, module in modules.items()}
    sizes: dict[str, tuple[int, ...]] = {}  # in the order in which the modules end
    goes_on_with_tokens = False

    def seen(module: nn.Module, given: tuple[Tensor, ...], output: object) -> None:
        nonlocal goes_on_with_tokens
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            sizes[names[id(module)]] = tuple(output.shape[2:])
            goes_on_with_tokens = False
        elif isinstance(output, Tensor) and output.ndim == 3 and isinstance(module, OF_TOKENS):
            goes_on_with_tokens = True

    hooks = [module.register_forward_hook(seen) for module in modules.values()]
    training = classifier.training
    try:
        with torch.no_grad():
            classifier.eval()(sample[:1])
    finally:
        classifier.train(training)
        for hook in hooks:
            hook.remove()
    ends: dict[tuple[int, ...], str] = {}
    for name, size in sizes.items():
        parts = name.split(".")
        around = (sizes.get(".".join(parts[:depth])) for depth in range(1, len(parts)))
        if all(other in (None, size) for other in around):
            ends.pop(size, None)
            ends[size] = name
    if not ends or goes_on_with_tokens:
        raise UserError(
            f"{type(classifier).__name__} has no feature maps (N, C, H, W) that its answer rests on: choose another "
            "model, or another method"
        )
    return [modules[name] for name in ends.values()]


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
