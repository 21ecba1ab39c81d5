"""Feature maps before the last pooling, which penultimate features are the means of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier


@contextmanager
def watched(modules: list[nn.Module], see: Callable[[nn.Module, Tensor, Tensor], Tensor | None]) -> Iterator[None]:
    """Call ``see(module, input, output)`` whenever one of the modules ran; what it returns replaces the output.

    >>> layer = nn.Linear(2, 2)
    >>> with watched([layer], lambda module, given, made: made * 0):
    ...     layer(torch.ones(1, 2)).abs().tolist()
    [[0.0, 0.0]]
    """

    def hook(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor | None:
        return see(module, given[0], made) if given and isinstance(made, Tensor) else None

    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def feature_maps(classifier: Classifier, samples: LabelledSamples, batch_size: int = 256) -> Iterator[Tensor]:
    """The last maps before the pooling, at least 0: (n, C, P) float32 on the CPU, P places, a batch at a time.

    They are the last four-dimensional output (n, C, H, W) of any of the classifier's modules, behind a ReLU.

    Raises:
        UserError: no module has such an output.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 16, 16), classes=["a", "b"]), seed=0)
    >>> pictures = torch.rand(3, 1, 16, 16).mul(255).to(torch.uint8)
    >>> maps, = feature_maps(classifier, LabelledSamples(pictures, torch.zeros(3), ["a", "b"], "image-classification"))
    >>> maps.shape, torch.allclose(maps.mean(2), classifier.features(pictures / 255), atol=1e-5)
    (torch.Size([3, 64, 4]), True)
    """
    last: dict[str, Tensor] = {}

    def see(module: nn.Module, given: Tensor, made: Tensor) -> None:
        if made.ndim == 4:
            last["maps"] = made

    classifier.eval()
    modules = [module for module in classifier.modules() if module is not classifier]
    for _, raw in samples.split(batch_size):
        with watched(modules, see), torch.inference_mode():
            classifier(samples.modality.collate(raw, classifier))
        if "maps" not in last:
            raise UserError(
                "this classifier has no feature maps (samples, channels, height, width): nothing to look at"
            )
        yield last.pop("maps").clamp_min(0).flatten(2).float().cpu()
