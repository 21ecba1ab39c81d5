"""The networks: the small world's classifier of attributes, or a folder with the published weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import existing
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_metric_lpips.distance import PerceptualNetwork, at_least
from bdm_torch.foreign_models import require_finite
from bdm_torch.tensors import read_tensors
from bdm_torch.weights import read_header

SMALLEST_SIDE = 64
"""The published networks shrink a picture up to 32 times: smaller ones are enlarged to this side."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""By which LPIPS normalises pictures in [-1, 1], for each channel."""


class Fire(nn.Module):
    """SqueezeNet's module: few channels by 1x1, then as many by 1x1 as by 3x3, side by side."""

    def __init__(self, inputs: int, few: int, many: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, few, 1)
        self.expand1x1 = nn.Conv2d(few, many, 1)
        self.expand3x3 = nn.Conv2d(few, many, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, 2 many, h, w)."""
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)


def alexnet() -> nn.Sequential:
    """The convolutions of AlexNet, numbered as torchvision has them."""
    parts: list[nn.Module] = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    parts += [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    parts += [nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*parts, nn.Conv2d(256, 256, 3, padding=1), nn.ReLU())


def vgg16() -> nn.Sequential:
    """The convolutions of VGG-16, likewise."""
    parts: list[nn.Module] = []
    inputs = 3
    for block, (times, width) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))):
        parts += [nn.MaxPool2d(2)] if block else []
        for _ in range(times):
            parts += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
    return nn.Sequential(*parts)


def squeezenet() -> nn.Sequential:
    """The convolutions of SqueezeNet 1.1, likewise."""
    pool = (nn.MaxPool2d(3, 2, ceil_mode=True) for _ in range(3))
    parts: list[nn.Module] = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(), next(pool), Fire(64, 16, 64), Fire(128, 16, 64)]
    parts += [next(pool), Fire(128, 32, 128), Fire(256, 32, 128), next(pool), Fire(256, 48, 192)]
    return nn.Sequential(*parts, Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256))


PUBLISHED = {
    "alexnet": (alexnet, (1, 4, 7, 9, 11)),
    "vgg16": (vgg16, (3, 8, 15, 22, 29)),
    "squeezenet": (squeezenet, (1, 4, 7, 9, 10, 11, 12)),
}
"""Name -> what builds it, and after which modules the layers of LPIPS are taken."""


def open_network(network: str | None, device: str) -> PerceptualNetwork:
    """The network that the parameters name.

    Raises:
        UserError: there is no such folder.
        ArtifactError: its tensors are none of the published networks'.
    """
    if network is None:
        return attribute_network(device)
    folder = existing(network)
    if folder is None or not folder.is_dir():
        raise UserError(f"metric:lpips.network: no folder {network!r}: name one with safetensors of LPIPS's weights")
    return published_network(folder, device)


def attribute_network(device: str) -> PerceptualNetwork:
    """The convolutions of the small world's classifier, each after its activation; every channel counts the same."""
    classifier = load_attribute_classifier(device)
    taken = [number for number, part in enumerate(classifier.body) if isinstance(part, nn.SiLU)]

    def layers(images: Tensor) -> list[Tensor]:
        return _after(classifier.body, taken, classifier._fitted(images.to(device)))

    return PerceptualNetwork("attributes", layers)


def published_network(folder: Path, device: str) -> PerceptualNetwork:
    """The network whose tensors a folder holds.

    Raises:
        ArtifactError: there are none, or too few or too many, or of other shapes than the published ones'.
    """
    tensors = _tensors(folder)
    nearest: list[str] | None = None
    for name, (build, taken) in PUBLISHED.items():
        network = build()
        expected = {f"features.{key}": value.shape for key, value in network.state_dict().items()}
        widths = _widths(network, taken)
        expected |= {f"lin{place}.model.1.weight": torch.Size((1, width, 1, 1)) for place, width in enumerate(widths)}
        wrong = sorted(key for key, shape in expected.items() if key not in tensors or tensors[key].shape != shape)
        if wrong:
            nearest = wrong if nearest is None or len(wrong) < len(nearest) else nearest
            continue
        network.load_state_dict({key.removeprefix("features."): tensors[key] for key in expected if key[0] == "f"})
        weights = [tensors[f"lin{place}.model.1.weight"].flatten().float() for place in range(len(taken))]
        if min(float(weight.min()) for weight in weights) < 0:
            raise ArtifactError(f"{folder}: LPIPS's weights of channels (lin*) are negative")
        return _published(name, network.to(device).eval().requires_grad_(False), taken, weights)
    raise ArtifactError(
        f"{folder} holds none of {', '.join(PUBLISHED)} with LPIPS's weights: it needs torchvision's features.* and "
        f"LPIPS's lin*.model.1.weight (no {nearest[0] if nearest else 'tensor'} of the right shape)"
    )


def _published(name: str, network: nn.Sequential, taken: Sequence[int], weights: Sequence[Tensor]) -> PerceptualNetwork:
    device = next(network.parameters()).device
    shift, scale = (torch.tensor(values, device=device)[:, None, None] for values in (SHIFT, SCALE))

    def layers(images: Tensor) -> list[Tensor]:
        colour = images.to(device, torch.float32).expand(-1, 3, -1, -1)
        return _after(network, taken, (at_least(colour, SMALLEST_SIDE) - shift) / scale)

    return PerceptualNetwork(name, layers, weights)


def _after(parts: nn.Sequential, taken: Sequence[int], x: Tensor) -> list[Tensor]:
    """The activations after some of the modules."""
    found = []
    for number, part in enumerate(parts):
        if number > taken[-1]:
            break
        x = part(x)
        if number in taken:
            found.append(x)
    return found


def _widths(network: nn.Sequential, taken: Sequence[int]) -> list[int]:
    """The channels of the layers."""
    found, width = [], 0
    for number, part in enumerate(network):
        if isinstance(part, nn.Conv2d):
            width = part.out_channels
        elif isinstance(part, Fire):
            width = part.expand1x1.out_channels + part.expand3x3.out_channels
        if number in taken:
            found.append(width)
    return found


def _tensors(folder: Path) -> Mapping[str, Tensor]:
    """All tensors of the folder's safetensors files that the networks may need."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        read_header(path)
        own = read_tensors(path)
        require_finite(path, own)
        found |= {key: value for key, value in own.items() if key.startswith(("features.", "lin"))}
    if not found:
        raise ArtifactError(
            f"{folder} has no safetensors with LPIPS's weights; pickled ones are converted with `bdm import`"
        )
    return found
