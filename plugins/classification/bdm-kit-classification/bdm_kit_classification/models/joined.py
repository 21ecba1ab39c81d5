"""Joining a small network to a finished classifier, as part of the model.

The classifier's own weights stay as they are. The joined network sees a square of each picture; its first outputs are
further features, behind the classifier's own, and the last layer has a block of weights for them. The configuration has
its sizes under ``joined``, the weights are ``joined.*`` and a wider ``head.weight``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bdm_core.errors import UserError
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.models.image_classifiers import ImageClassifier
from bdm_kit_classification.models.image_folder import JoinedConfig
from bdm_kit_classification.models.joined_network import JoinedNetwork, beside


def require_host(classifier: Classifier, shape: Sequence[int]) -> None:
    """Whether a network can be joined to a classifier that gets pictures of this shape (C, H, W).

    Raises:
        UserError: it is none of the kit's own, takes pictures of another size, or has one already.
    """
    if not isinstance(classifier, ImageClassifier):
        raise UserError("a network can be joined to the kit's own networks alone: others have no place for it")
    if classifier.config.joined is not None:
        raise UserError("the model has a network joined to it already: take one without")
    if list(classifier.config.shape) != list(shape):
        raise UserError(
            f"the model takes pictures of {list(classifier.config.shape)}, the data have {list(shape)}: a joined "
            "network must see pixels as they are; take data of the model's size"
        )


def join(classifier: ImageClassifier, config: JoinedConfig, network: JoinedNetwork, weight: Tensor) -> None:
    """Join a network for good, in place.

    Args:
        classifier: one without a joined network.
        config: of the network.
        network: trained.
        weight: (K, kept), what the last layer adds to each class for each of its answers.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> config, x = JoinedConfig(top=0, left=0, side=2, hidden=[4], outputs=2, kept=1), torch.rand(3, 1, 8, 8)
    >>> network, before = JoinedNetwork(config).eval(), classifier(x)
    >>> join(classifier, config, network, torch.tensor([[0.0], [2.0]]))
    >>> bool(torch.allclose(classifier(x) - before, network(x) * torch.tensor([0.0, 2.0]), atol=1e-6))
    True
    """
    head = classifier.head
    before = head.weight.detach().clone(), head.bias.detach().clone()
    own: Any = classifier.network
    beside(own, config)
    own.joined.load_state_dict(network.state_dict())
    with torch.no_grad():
        own.head.weight.copy_(torch.cat([before[0], weight.to(before[0])], 1))
        own.head.bias.copy_(before[1])
    own.to(classifier.device).train(classifier.training)
    classifier.config = classifier.config.model_copy(update={"joined": config})
