"""A network cut in two: what it says of a representation that is put in at the cut."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from bdm_kit_classification.models.classifier import Classifier

LOOKED_AT = 32
"""So many random pictures tell whether representations are ever negative."""


class LaterPart:
    """The part of a classifier behind a cut.

    Networks of the kit are cut before one of their convolutions, or of their blocks where they have such; all others
    before their last linear map.

    Attributes:
        shape: of one representation, without the batch.
        rectified: whether representations are never negative there, as behind a ReLU: those of :data:`LOOKED_AT`
            random pictures have no negative value, and it is not the picture itself.

    Args:
        classifier: in evaluation mode.
        depth: where, as a share of the stages; 1: before the last linear map.
        picture: shape (C, H, W) of its pictures.
    """

    def __init__(self, classifier: Classifier, depth: float, picture: tuple[int, ...]) -> None:
        self.classifier = classifier
        network: Any = getattr(classifier, "network", None)
        blocks, convs = getattr(network, "blocks", None), getattr(network, "convs", None)
        stages = cast(list[nn.Module], list(blocks or convs or []))
        place = round(depth * len(stages))
        self._stage = stages[place] if place < len(stages) else None
        self._picture = torch.zeros(1, *picture, device=classifier.device)
        noise = torch.rand(LOOKED_AT, *picture, generator=torch.Generator().manual_seed(0)).to(classifier.device)
        with torch.no_grad():
            seen = classifier.features(noise) if self._stage is None else self._seen(self._stage, noise)
        self.shape = tuple(seen.shape[1:])
        self.rectified = (self._stage is None or place > 0) and bool((seen >= 0).all())

    def _seen(self, stage: nn.Module, pictures: Tensor) -> Tensor:
        """What comes before a stage."""
        seen: list[Tensor] = []
        handle = stage.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        try:
            self.classifier(pictures)
        finally:
            handle.remove()
        return seen[0]

    def __call__(self, representations: Tensor) -> Tensor:
        """Logits (N, K) of representations (N, *shape)."""
        if self._stage is None:
            return self.classifier.head(representations)
        handle = self._stage.register_forward_pre_hook(lambda module, given: (representations,))
        try:
            return cast(Tensor, self.classifier(self._picture.expand(len(representations), -1, -1, -1)))
        finally:
            handle.remove()
