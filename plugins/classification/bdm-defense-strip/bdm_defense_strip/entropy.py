"""STRIP (Gao et al., ACSAC 2019, arXiv 1902.06531): the entropy of predictions under superimposed clean samples.

A trigger decides the prediction whatever else is in the picture, so that blends of a triggered sample with clean ones
are all predicted alike: their entropy is low (section IV, equations 3 and 4).
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from bdm_core.artifacts import Data
from bdm_core.errors import UserError
from bdm_defense_strip.params import Superposition
from bdm_defense_strip.superposition import prepared, superimposed
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.asking import AT_ONCE, Oracle, repeated
from bdm_kit_classification.defending.inputs import ScoreInputs
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import batches


def divided(params: Superposition, data: Data, held_out: float, seed: int) -> tuple[LabelledSamples, LabelledSamples]:
    """The clean samples to blend with, at most ``copies`` of one part of the reserve, and the part that is held out.

    Raises:
        UserError: the reserve cannot be divided.
    """
    kept, held = open_reserve(data, held_out, seed)
    order = list(range(len(kept)))
    random.Random(f"blend {seed}").shuffle(order)
    if not order:
        raise UserError("strip needs clean samples to blend with: allow the defender more data (--data-share)")
    return kept.pick(order[: params.copies]), held


def entropies(logits: Tensor) -> Tensor:
    """Shannon entropy of each prediction in bits, (n,) float64, between 0 and log2 K.

    >>> entropies(torch.tensor([[0.0, 0.0], [50.0, -50.0]])).round(decimals=6).tolist()
    [1.0, 0.0]
    """
    logarithms = logits.double().log_softmax(1)
    return -(logarithms.exp() * logarithms).sum(1) / torch.log(torch.tensor(2.0, dtype=torch.float64))


def mean_entropies(oracle: Oracle, samples: LabelledSamples, clean: LabelledSamples, params: Superposition) -> Tensor:
    """Mean entropy (N,) in bits of each sample blended with each of M clean ones (equation 4).

    Args:
        oracle: the classifier.
        samples: N.
        clean: M, the same for all.
        params: how they are superimposed.
    """
    count, found = len(clean), [torch.zeros(0, dtype=torch.float64)]
    clean = prepared(clean, params)
    for rows in batches(len(samples), max(1, AT_ONCE // count)):
        others = clean.raw(list(range(count)) * len(rows))
        blends = superimposed(samples, repeated(samples, list(rows), count), others, params)
        found.append(entropies(oracle.logits(samples, blends)).reshape(len(rows), count).mean(1))
    return torch.cat(found)


def scorer(oracle: Oracle, clean: LabelledSamples, params: Superposition) -> ScoreInputs:
    """The score: the negative mean entropy, so that higher is more suspicious."""
    return lambda samples: -mean_entropies(oracle, samples, clean, params)
