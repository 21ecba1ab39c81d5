"""What networks of other libraries have in common: normalisation and size around them, features, layers to prune."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_kit_classification.catalogue import IMAGE_TASK
from bdm_kit_classification.models.classifier import Classifier, PrunableLayer


class ForeignClassifier(Classifier):
    """A network of another library that ends in a linear map.

    Args:
        network: takes pictures of one size, normalised.
        head_name: of the last linear map within the network.
        shape: (C, H, W) of the pictures; others are resized to it.
        mean, deviation: pictures in [0, 1] are normalised by them, a number a channel.
    """

    task = IMAGE_TASK

    def __init__(
        self,
        network: Any,
        head_name: str,
        shape: tuple[int, int, int],
        mean: Sequence[float],
        deviation: Sequence[float],
    ) -> None:
        super().__init__()
        self.network, self._head_name, self.shape = network, head_name, shape
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def prepare(self, pictures: Tensor) -> Tensor:
        """Pictures in [0, 1] as the network takes them."""
        if pictures.shape[2:] != self.shape[1:]:
            pictures = functional.interpolate(
                pictures, self.shape[1:], mode="bilinear", align_corners=False, antialias=True
            )
        return (pictures - self.mean) / self.deviation  # type: ignore[operator]

    def features(self, inputs: Tensor) -> Tensor:
        """What the head sees, (N, F)."""
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        try:
            self(inputs)
        finally:
            hook.remove()
        return seen[0].flatten(1)

    @property
    def head(self) -> nn.Linear:
        """The last linear map."""
        return cast(nn.Linear, self.network.get_submodule(self._head_name))

    def prunable_layers(self) -> list[PrunableLayer]:
        """Convolutions and linear maps but for the head, in the order in which they run, each with the batch
        normalisation that takes its very output."""
        return layers_in_order(self, torch.zeros(1, *self.shape, device=self.device))


def layers_in_order(classifier: Classifier, example: Tensor) -> list[PrunableLayer]:
    """Convolutions and linear maps but for the head, in the order in which they run, each with the batch normalisation
    that takes its very output.

    Args:
        classifier: run once in evaluation mode.
        example: an input for it.
    """
    layers: list[tuple[str, nn.Module]] = []
    norm_of: dict[int, nn.BatchNorm2d] = {}
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # the tensors are kept, so that no address is used twice

    def watch(name: str) -> Any:
        def after(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(module, nn.BatchNorm2d):
                if id(given[0]) in made:
                    norm_of[id(made[id(given[0])][0])] = module
            elif all(module is not other for _, other in layers):
                layers.append((name, module))
                made[id(output)] = (module, output)

        return after

    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    found = [(name, module) for name, module in classifier.named_modules() if isinstance(module, kinds)]
    hooks = [module.register_forward_hook(watch(name)) for name, module in found]
    training = classifier.training
    try:
        with torch.no_grad():
            classifier.eval()(example)
    finally:
        classifier.train(training)
        for hook in hooks:
            hook.remove()
    return [
        PrunableLayer(name, layer, norm_of.get(id(layer))) for name, layer in layers if layer is not classifier.head
    ]
