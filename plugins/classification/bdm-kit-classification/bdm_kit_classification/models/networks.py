"""The kit's own networks for pictures: small ones, PreAct-ResNet18 and VGG19-BN, all of any width.

Each has ``body``, which gives features (N, F), ``head``, a linear map, and ``pairs``: names of its prunable layers,
each with the normalisation that sees its output and nothing else ("" if none does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import ArtifactError
from bdm_kit_classification.models.folding import convolved

Pairs = list[tuple[str, str]]


def pixels_first(x: Tensor) -> Tensor:
    """The same values (N, C, H, W), the channels of a pixel side by side in memory where a CPU computes.

    There, convolutions and poolings of small networks are faster so; their results keep the layout.

    >>> import torch
    >>> pixels_first(torch.zeros(2, 3, 4, 5)).stride(), pixels_first(torch.zeros(2, 1, 4, 5)).stride()
    ((60, 1, 15, 3), (20, 1, 5, 1))
    """
    if x.device.type != "cpu":
        return x
    count, channels, height, width = x.shape
    pixels = x.reshape(count, height, width, 1) if channels == 1 else x.permute(0, 2, 3, 1).contiguous()
    return pixels.permute(0, 3, 1, 2)


class SmallNetwork(nn.Module):
    """Four convolutions with batch normalisation, three poolings, the mean over the picture, a linear head.

    Args:
        channels: of the picture.
        width: of the first layer; the others have 2, 4, 4 times as many for ``cnn``.
        classes: how many.
    """

    factors: ClassVar[tuple[int, ...]] = (1, 2, 4, 4)

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        sizes = [width * factor for factor in self.factors]
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for before, after in zip([channels, *sizes], sizes, strict=False):
            self.convs.append(nn.Conv2d(before, after, 3, padding=1, bias=False))
            self.norms.append(nn.BatchNorm2d(after))
        self.head = nn.Linear(sizes[-1], classes)
        self.pairs: Pairs = [(f"convs.{index}", f"norms.{index}") for index in range(len(sizes))]

    def body(self, x: Tensor) -> Tensor:
        """Features (N, F)."""
        x = pixels_first(x)
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = convolved(conv, norm, x)
            if index < 3 and min(x.shape[2:]) > 1:
                x = functional.max_pool2d(x, 2)  # before the ReLU, which gives the same and has less to do
            x = functional.relu(x)
        return x.mean((2, 3))


class WideNetwork(SmallNetwork):
    """The same with 1, 1, 2, 2 times the width: more units in early layers, for defenses that prune."""

    factors = (1, 1, 2, 2)


class PreActBlock(nn.Module):
    """A block of He et al. (2016, arXiv 1603.05027): normalisation and ReLU before each of two convolutions."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        straight = stride == 1 and before == after
        self.shortcut = None if straight else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        active = functional.relu(self.bn1(x))
        kept = x if self.shortcut is None else self.shortcut(active)
        return kept + self.conv2(functional.relu(convolved(self.conv1, self.bn2, active)))


class PreActResNet18(nn.Module):
    """PreAct-ResNet18 for small pictures: a 3x3 stem without pooling, four stages of two blocks; width 64 in papers."""

    last_norm: ClassVar[bool] = True
    """Whether a normalisation and a ReLU follow the last block, as in the paper."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        blocks: list[nn.Module] = []
        before = width
        for stage in range(4):
            for block in range(2):
                after = width * 2**stage
                blocks.append(PreActBlock(before, after, 2 if stage and not block else 1))
                before = after
        self.blocks = nn.ModuleList(blocks)
        self.bn = nn.BatchNorm2d(before) if self.last_norm else None
        self.head = nn.Linear(before, classes)
        self.pairs: Pairs = [("conv1", "")]
        for index in range(len(blocks)):  # what conv2 gives is added to the shortcut before anything normalises it
            self.pairs += [(f"blocks.{index}.conv1", f"blocks.{index}.bn2"), (f"blocks.{index}.conv2", "")]

    def body(self, x: Tensor) -> Tensor:
        """Features (N, 8 width)."""
        x = self.conv1(x)
        for block in self.blocks:
            x = block(x)
        return (x if self.bn is None else functional.relu(self.bn(x))).mean((2, 3))


class PublishedPreActResNet18(PreActResNet18):
    """PreAct-ResNet18 as published models of backdoor benchmarks have it: nothing normalises the last block."""

    last_norm = False


VGG19 = (1, 1, 0, 2, 2, 0, 4, 4, 4, 4, 0, 8, 8, 8, 8, 0, 8, 8, 8, 8, 0)
"""Width of each convolution in units of the first, 0 for a pooling (Simonyan and Zisserman 2014, configuration E)."""


class VGG19BN(nn.Module):
    """VGG19 with batch normalisation and one linear layer, as CIFAR benchmarks have it; width 64 as published."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        before = channels
        for factor in (item for item in VGG19 if item):
            self.convs.append(nn.Conv2d(before, width * factor, 3, padding=1))
            self.norms.append(nn.BatchNorm2d(width * factor))
            before = width * factor
        self.head = nn.Linear(before, classes)
        self.pairs: Pairs = [(f"convs.{index}", f"norms.{index}") for index in range(len(self.convs))]

    def body(self, x: Tensor) -> Tensor:
        """Features (N, 8 width); poolings stop where the picture is one pixel high or wide."""
        layers = iter(zip(self.convs, self.norms, strict=True))
        x = pixels_first(x)
        for factor in VGG19:
            if factor:
                conv, norm = next(layers)
                x = functional.relu(convolved(conv, norm, x))
            elif min(x.shape[2:]) > 1:
                x = functional.max_pool2d(x, 2)
        return x.mean((2, 3))


NETWORKS: dict[str, tuple[type[nn.Module], int]] = {
    "cnn": (SmallNetwork, 16),
    "cnn-wide": (WideNetwork, 64),
    "preact-resnet18": (PreActResNet18, 64),
    "preact-resnet18-published": (PublishedPreActResNet18, 64),
    "vgg19-bn": (VGG19BN, 64),
}
"""Architecture -> class and its usual width."""


def make_network(
    architecture: str, channels: int, width: int | None, classes: int, inserted: Sequence[str] = ()
) -> nn.Module:
    """A network with new weights.

    Args:
        architecture: a key of :data:`NETWORKS`.
        channels: of the pictures.
        width: of its first layer; None for the usual.
        classes: how many.
        inserted: names of convolutions before which a linear map of the channels sits, at first the identity.

    Raises:
        ArtifactError: a name is of no convolution of the network, or comes twice.

    >>> network = make_network("cnn", 1, 4, 2, ["convs.3"])
    >>> sorted(name for name in network.state_dict() if name.startswith("inserted"))
    ['inserted.0.bias', 'inserted.0.weight']
    """
    kind, usual = NETWORKS[architecture]
    network = kind(channels, width or usual, classes)
    for name in inserted:
        inserted_before(network, name)
    return network


class Through:
    """A hook that sends what a layer gets through another layer first; copied along with a network."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __call__(self, module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.layer(given[0]), *given[1:])


def inserted_before(network: nn.Module, name: str) -> None:
    """Add the next of ``network.inserted``: an identity, 1x1 with bias, before a convolution.

    Raises:
        ArtifactError: the name is of no convolution of the network, or has one before it already.
    """
    any_network: Any = network
    if not hasattr(network, "inserted"):
        any_network.inserted = nn.ModuleList()
    target = dict(network.named_modules()).get(name)
    if not isinstance(target, nn.Conv2d) or name.startswith("inserted."):
        found = [key for key, module in network.named_modules() if isinstance(module, nn.Conv2d)]
        raise ArtifactError(f"inserted: {name!r} is no convolution of the network; it has {', '.join(found)}")
    if any(isinstance(hook, Through) for hook in target._forward_pre_hooks.values()):
        raise ArtifactError(f"inserted: {name!r} is named twice")
    layer = nn.Conv2d(target.in_channels, target.in_channels, 1)
    nn.init.dirac_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    any_network.inserted.append(layer.to(target.weight.device))
    target.register_forward_pre_hook(Through(layer))
