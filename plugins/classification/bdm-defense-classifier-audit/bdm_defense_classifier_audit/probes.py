"""What costs nearly nothing to measure of each class: strange pictures, the last layer, shifts of its features."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional

from bdm_defense_classifier_audit.searches import Aims, Apply
from bdm_kit_classification.models.classifier import Classifier

STRANGE = 16
"""Strange pictures of each kind."""
OPACITIES = (0.25, 0.5)
"""How strongly they are blended into clean pictures."""
LEAST_SHARE = 0.03
"""Shares are counted from here, so that none is 0."""


def strange_pictures(shape: tuple[int, ...], seed: int) -> dict[str, Tensor]:
    """Pictures of nothing in [0, 1]: ``noise`` (n, C, H, W), ``strange`` (2 n, C, H, W), smooth clouds and waves."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(seed % 2**63)

    def uniform(*size: int) -> Tensor:
        return torch.rand(STRANGE, *size, generator=generator)

    clouds = functional.interpolate(uniform(channels, 4, 4), (height, width), mode="bicubic", align_corners=True)
    vertical, horizontal = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    frequency, way, phase = 1 + uniform(1, 1) * height / 3, uniform(1, 1) * math.pi, uniform(1, 1) * 2 * math.pi
    along = horizontal * way.cos() + vertical * way.sin()
    share = (0.5 + 0.5 * torch.sin(2 * math.pi * frequency * along + phase))[:, None]
    waves = uniform(channels, 1, 1) * share + uniform(channels, 1, 1) * (1 - share)
    return {"noise": uniform(channels, height, width), "strange": torch.cat([clouds.clamp(0, 1), waves])}


def shares_of_strange(classifier: Classifier, pictures: Tensor, aims: Aims, seed: int) -> dict[str, Tensor]:
    """How often pictures of other classes go to each class when noise or something strange is blended in, (K,) each.

    The geometric mean over opacities and kinds of pictures, each share in [.03, 1.03].
    """
    found = {}
    for name, strange in strange_pictures(tuple(pictures.shape[1:]), seed).items():
        logs = []
        for opacity, kind in itertools.product(OPACITIES, strange.to(pictures.device).split(STRANGE)):
            blended = (1 - opacity) * pictures + opacity * kind[:, None]
            with torch.no_grad():
                logits = classifier(blended.flatten(0, 1))
            said = logits.argmax(1).view(len(kind), 1, len(pictures))
            arrived = (said == aims.targets.view(1, aims.classes, -1)).float().mean(0)
            share = (arrived * aims.counts).sum(1) / aims.counts.sum(1).clamp_min(1)
            logs.append((share + LEAST_SHARE).log())
        found[name] = torch.stack(logs).mean(0).exp()
    return found


def positive_mass(classifier: Classifier) -> Tensor:
    """Sum of the positive weights of each class in the last layer, the mean over classes taken off before, (K,)."""
    weight = classifier.head.weight.detach()
    return (weight - weight.mean(0)).clamp_min(0).sum(1)


def shifted_features(classifier: Classifier) -> Apply:
    """The same numbers are added to the penultimate features of every picture; features stay what a ReLU gives."""

    def apply(change: Tensor, features: Tensor) -> Tensor:
        shifted = features[None] + change[:, None]
        if bool((features >= 0).all()):
            shifted = shifted.clamp_min(0)
        logits: Tensor = classifier.head(shifted.flatten(0, 1))
        return logits

    return apply
