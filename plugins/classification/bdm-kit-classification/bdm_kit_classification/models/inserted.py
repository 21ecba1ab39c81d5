"""Linear layers inserted into a network before one of its convolutions: 1x1 maps of channels, as part of the model.

A defense may add a map x -> W x + b of the channels at each place before a convolution (Neural Polarizer, Zhu et al.
2023). Before a convolution with padding it cannot be folded into that convolution: the padding is zero behind the map,
not before it. Hence the configuration names the convolution under ``inserted``, and the weights are
``inserted.0.weight`` (C, C, 1, 1) and ``inserted.0.bias`` (C). Where folding is exact, the layer is folded instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.models.image_classifiers import ImageClassifier
from bdm_kit_classification.models.networks import inserted_before


def insert_linear(classifier: Classifier, layer: str, weight: Tensor, bias: Tensor) -> None:
    """Put x -> W x + b before a layer of a classifier for good: it is written with it, and opened with it again.

    It is folded into the layer where that is exact: a linear map with a bias, or a convolution with a bias and without
    padding. It is merged with a map that was inserted there before.

    Args:
        classifier: changed in place.
        layer: as ``named_modules`` has it, e.g. ``network.convs.3``.
        weight: W, (C, C).
        bias: b, (C).

    Raises:
        UserError: there is no such layer, or it is one into which nothing can be folded in a network of another make.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> insert_linear(classifier, "network.convs.3", torch.eye(64), torch.zeros(64))
    >>> classifier.config.inserted, classifier.network.inserted[0].weight.shape
    (['convs.3'], torch.Size([64, 64, 1, 1]))
    >>> insert_linear(classifier, "network.head", 2 * torch.eye(64), torch.zeros(64))
    >>> classifier.config.inserted
    ['convs.3']
    """
    module = require_place(classifier, layer)
    if can_fold(module):
        fold(module, weight, bias)
        return
    assert isinstance(classifier, ImageClassifier)
    name = layer.removeprefix("network.")
    network: Any = classifier.network
    if name not in classifier.config.inserted:
        inserted_before(network, name)
        classifier.config = classifier.config.model_copy(update={"inserted": [*classifier.config.inserted, name]})
        network.inserted.to(classifier.device)
    placed: nn.Conv2d = network.inserted[classifier.config.inserted.index(name)]
    old, shift = placed.weight.detach().flatten(1), placed.bias.detach()  # type: ignore[union-attr]
    weight, bias = weight.to(old), bias.to(old)
    with torch.no_grad():
        placed.weight.copy_((weight @ old).reshape(placed.weight.shape))
        placed.bias.copy_(weight @ shift + bias)  # type: ignore[union-attr]


def require_place(classifier: Classifier, layer: str) -> nn.Linear | nn.Conv2d:
    """The layer of this name, if a linear map before it can be kept with the model.

    Raises:
        UserError: it cannot; see :func:`insert_linear`.
    """
    module = dict(classifier.named_modules()).get(layer)
    plain = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    if not isinstance(module, nn.Linear | nn.Conv2d) or not plain or layer.startswith("network.inserted."):
        raise UserError(f"the classifier has no linear layer or convolution {layer!r} to insert a layer before")
    if not can_fold(module) and not (isinstance(classifier, ImageClassifier) and isinstance(module, nn.Conv2d)):
        raise UserError(
            f"a layer before {layer} cannot be kept: only the kit's own networks can be written with layers inserted "
            "before convolutions, and into this layer it cannot be folded exactly"
        )
    return module


def can_fold(layer: nn.Linear | nn.Conv2d) -> bool:
    """Whether a linear map before a layer can become part of it exactly."""
    if layer.bias is None:
        return False
    return isinstance(layer, nn.Linear) or (layer.groups == 1 and layer.padding in ("valid", 0, (0, 0)))


def fold(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    """Make x -> W x + b part of the layer behind it, in place.

    >>> layer = nn.Linear(1, 1)
    >>> with torch.no_grad():
    ...     _ = layer.weight.fill_(3.0), layer.bias.fill_(1.0)
    >>> fold(layer, torch.tensor([[2.0]]), torch.tensor([5.0]))
    >>> layer.weight.item(), layer.bias.item()
    (6.0, 16.0)
    """
    with torch.no_grad():
        old = layer.weight.detach().clone()
        weight, bias = weight.to(old), bias.to(old)
        if layer.bias is not None:
            layer.bias.add_(torch.einsum("oi...,i->o...", old.reshape(*old.shape[:2], -1), bias).sum(1))
        layer.weight.copy_(torch.einsum("oi...,ij->oj...", old, weight))
