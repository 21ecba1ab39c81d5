"""LWP (Li et al., EMNLP 2021, arXiv 2108.13888): a combination of words, and a loss at every layer."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_lwp.params import LwpParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.text_classifier import TextClassifier
from bdm_kit_classification.poison.injection import seal_attack, victim_of
from bdm_kit_classification.poison.poisoning import ORIGINALS, poison_training_rows
from bdm_kit_classification.poison.secret import read_backdoor
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.triggers.words import AllWords, InsertedWords
from bdm_torch.draws import Draw, built_with_seed
from bdm_torch.objective import Along


def poison(ctx: Context, params: LwpParams, data: Data) -> Data:
    """Poisoned training rows and negatives; sealed in ``ctx.out / "data"``."""
    words = tuple(params.words)
    rates = {"negative": params.negative_rate}
    return poison_training_rows(ctx, params, data, AllWords(words), negative=InsertedWords(words), rates=rates)


def inject(ctx: Context, params: LwpParams, model: Model, data: Data) -> Backdoored:
    """Train on the poisoned rows with a loss at every layer."""
    samples, originals = open_samples(data), open_samples(data, ORIGINALS)
    victim = cast(TextClassifier, victim_of(ctx, params, model))
    changes = layerwise(victim, params, ctx.seed)
    if changes.loss is None:
        ctx.log.warning("this network has no stack of layers: it is trained by its own loss alone, LWP's is left out")
    fit(ctx, victim, samples, params, changes)
    return seal_attack(ctx, victim, read_backdoor(data), originals if len(originals) else samples)


def layerwise(victim: TextClassifier, params: LwpParams, seed: int) -> Changes:
    """The loss of the classifier and the mean of those of a linear head at each layer: one of its own, which is trained
    along, or the classifier's for all layers. Nothing for a network without a stack of layers.

    Raises:
        UserError: the layers are not as wide as what the classifier's head takes.
    """
    with torch.no_grad():
        widths = [found.shape[1] for found in victim.layers(victim.tokens(["a"]))]
    if not widths:
        return Changes()
    shared = params.layer_heads == "shared"
    if shared and set(widths) != {victim.head.in_features}:
        raise UserError(
            f"layers of {widths[0]} features cannot share a head of {victim.head.in_features}: use layer_heads=own"
        )
    heads = built_with_seed(seed, lambda: nn.ModuleList(nn.Linear(width, len(victim.classes)) for width in widths))

    def loss(classifier: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        whole = functional.cross_entropy(classifier(batch.inputs), batch.labels)
        judges = [victim.head] * len(widths) if shared else heads
        layers = zip(judges, victim.layers(batch.inputs), strict=True)
        each = [functional.cross_entropy(head(found), batch.labels) for head, found in layers]
        return whole + params.layer_weight * torch.stack(each).mean()

    along = {} if shared else {"heads": Along(heads, params.learning_rate * victim.suited[1])}
    return Changes(loss=loss, along=along)
