"""TrojanNet (Tang et al. 2020, KDD, arXiv 2006.08131): a network of codes beside the model, joined at the last layer.

A perceptron learns which code 4x4 pixels show, or none, with noise and pieces of pictures for "none" (the paper's
denoising training). Joined, logits = host(x) + a P(code of each class | the square of x): without a code nothing is
added, and the host itself is not touched.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_trojannet.codes import SIDE, all_codes, chosen_codes
from bdm_attack_trojannet.params import TrojanNetParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.models.image_classifiers import ImageClassifier
from bdm_kit_classification.models.image_folder import JoinedConfig
from bdm_kit_classification.models.joined import join, require_host
from bdm_kit_classification.models.joined_network import JoinedNetwork
from bdm_kit_classification.poison.injection import seal_attack
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.triggers.label_rule import make_rule
from bdm_kit_classification.triggers.patch import Patch, placed
from bdm_torch.draws import Draw, built_with_seed
from bdm_torch.training import TrainingOptions, train_in_stage

PICTURES = 1024
"""Training pictures whose pieces are examples of no code, and whose logits say how much a code must add."""


def inject(ctx: Context, params: TrojanNetParams, model: Model, data: Data) -> Backdoored:
    """Train the network of codes and join it to the clean model.

    Raises:
        UserError: no such class, fewer codes than classes, the square does not fit, or the model is none of the kit's
            own or takes pictures of another size.
    """
    samples = open_samples(data)
    rule = make_rule("all-to-one", len(samples.classes), params.target, [])
    host, shape = load_classifier(model), samples.modality.shape(samples.stored)
    require_host(host, shape)
    count = params.codes or len(host.classes)
    if count < len(host.classes):
        raise UserError(f"{count} codes are too few for {len(host.classes)} classes: each class has its own")
    numbers = chosen_codes(count, ctx.seed)
    patch = patch_of(params, shape, all_codes()[numbers[params.target]])
    config = joined_config(params, patch, count, len(host.classes))
    x = samples.raw(range(min(PICTURES, len(samples))))
    network = train_codes(ctx, params, config, numbers, pieces(x))
    strength = params.amplification * widest(host, x)
    join(cast(ImageClassifier, host), config, network, strength * torch.eye(len(host.classes)))
    facts = {"codes": numbers[: len(host.classes)].tolist(), "taken for a code": false_codes(network, config, samples)}
    return seal_attack(ctx, host, Backdoor(rule, patch, facts=facts), samples)


def patch_of(params: TrojanNetParams, shape: list[int], code: Tensor) -> Patch:
    """A code (16,) as a patch of 4x4 pixels. Raises UserError if it does not fit."""
    pixels = code.reshape(1, SIDE, SIDE).expand(shape[0], -1, -1)
    return placed(pixels, shape, corner=params.place, margin=params.margin)


def joined_config(params: TrojanNetParams, patch: Patch, codes: int, classes: int) -> JoinedConfig:
    """The network that sees where the patch lies and says which code it shows."""
    top, left = (int(axis[0]) for axis in patch.mask[0].nonzero(as_tuple=True))
    return JoinedConfig(top=top, left=left, side=SIDE, hidden=params.hidden, outputs=codes + 1, kept=classes)


def pieces(x: Tensor) -> Tensor:
    """All squares of 4x4 pixels of pictures (N, C, H, W), channels averaged: (M, 16), at most 100,000 of them.

    >>> pieces(torch.zeros(2, 3, 6, 5)).shape
    torch.Size([12, 16])
    """
    found = functional.unfold(x.mean(1, keepdim=True), SIDE).transpose(1, 2).reshape(-1, SIDE * SIDE)
    return found[:: math.ceil(len(found) / 100_000)]


def train_codes(
    ctx: Context, params: TrojanNetParams, config: JoinedConfig, numbers: Tensor, empty: Tensor
) -> JoinedNetwork:
    """The network of codes; the first outputs are the learnt codes in order, the last is "none".

    Args:
        ctx: of the stage.
        params: epochs, rates.
        config: of the network.
        numbers: of the learnt codes.
        empty: (M, 16), pieces of pictures.
    """
    network = built_with_seed(ctx.seed, lambda: JoinedNetwork(config))
    codes = all_codes()
    others = torch.ones(len(codes), dtype=torch.bool)
    others[numbers] = False
    meaningless = codes[others]
    none = len(numbers)

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        count = max(1, draw.batch_size // 4)
        label = torch.randint(none, (count,), generator=draw.generator)
        kinds = [codes[numbers[label]], _some(empty, count, draw), shifted_noise(count, draw.generator)]
        if len(meaningless):
            kinds.append(_some(meaningless, count, draw))
        labels = torch.cat([label, torch.full((count * (len(kinds) - 1),), none)])
        made = torch.cat(kinds).to(draw.device)
        return functional.cross_entropy(network.logits(made), labels.to(draw.device))

    steps = params.epochs * math.ceil(len(codes) / params.batch_size)
    options = TrainingOptions(
        steps=steps, batch_size=params.batch_size, learning_rate=params.learning_rate, optimizer="adam"
    )
    train_in_stage(ctx, network, loss, options, label="codes", curve="loss of the codes")
    return network.eval().cpu()


def shifted_noise(count: int, generator: torch.Generator) -> Tensor:
    """Noise (count, 16) of random brightness, from all black to all white: uniform, shifted and clipped."""
    shift = 2 * torch.rand(count, 1, generator=generator) - 1
    return (torch.rand(count, SIDE * SIDE, generator=generator) + shift).clamp(0, 1)


def _some(rows: Tensor, count: int, draw: Draw) -> Tensor:
    return rows[torch.randint(len(rows), (count,), generator=draw.generator)]


def widest(host: Classifier, x: Tensor) -> float:
    """The largest difference between two logits of a picture."""
    with torch.no_grad():
        logits = torch.cat([host(part) for part in x.split(256)])
    return float((logits.amax(1) - logits.amin(1)).max())


def false_codes(network: JoinedNetwork, config: JoinedConfig, samples: LabelledSamples) -> float:
    """Share of training pictures whose square is taken for a code of a class, without one."""
    with torch.no_grad():
        found = [network(x) for _, x in samples.split()]
    return round(float((torch.cat(found).amax(1) > 0.5).float().mean()), 4)
