"""Which sounds and which recordings, by what a clean classifier of the attacker's says, as in the released code.

Certainty: the sounds whose prediction has the least entropy. Influence: the recordings whose prediction under a sound
is nearest to that of the sound alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bdm_attack_daba.params import DabaParams
from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier, batches
from bdm_kit_classification.poison.injection import train_surrogate
from bdm_kit_classification.poison.selection import may_be_poison
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import Trigger

ALONE = 0.1
"""Effective value of a sound that is heard alone: -20 dB below full scale."""
HOSTS = 2000
"""Recordings among which the most influenced are chosen, at most."""
LEAST = 1e-7
"""Probabilities are at least so far from 0 and 1 in a logarithm."""


def surrogate_of(ctx: Context, params: DabaParams, samples: LabelledSamples) -> Classifier:
    """The attacker's own clean classifier, the kit's small one.

    Raises:
        UserError: noise waits for the rows of the attack.
    """
    return train_surrogate(ctx, samples, params.model_copy(update={"epochs": params.surrogate_epochs}))


def predictions(classifier: nn.Module, x: Tensor) -> Tensor:
    """Probabilities (N, K) float64 on the CPU of waveforms (N, S)."""
    device = next((value.device for value in classifier.parameters()), torch.device("cpu"))
    with torch.no_grad():
        parts = [classifier(x[list(rows)].to(device)).double().softmax(1).cpu() for rows in batches(len(x), 256)]
    return torch.cat(parts)


def entropies(probabilities: Tensor) -> Tensor:
    """Shannon entropy in bits, (N,), of predictions (N, K).

    >>> entropies(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    return -torch.special.xlogy(probabilities, probabilities).sum(1) / torch.log(torch.tensor(2.0))


def most_certain(classifier: nn.Module, sounds: Tensor, count: int) -> tuple[list[int], list[float]]:
    """The sounds (P, S) of effective value 1 that the classifier is most certain of, and each one's entropy in bits."""
    values = entropies(predictions(classifier, (ALONE * sounds).clamp(-1, 1))).tolist()
    return sorted(sorted(range(len(sounds)), key=lambda place: values[place])[:count]), values


def influences(alone: Tensor, together: Tensor) -> Tensor:
    """How far predictions under a sound are from that of the sound alone, (N,): less is more influenced.

    The sum over classes of -y log a - (1 - y) log(1 - a), a of the sound and y of the recording with it.

    Args:
        alone: a, (K,).
        together: y, (N, K).

    >>> influences(torch.tensor([0.5, 0.5]), torch.tensor([[1.0, 0.0]])).round(decimals=3).tolist()
    [1.386]
    """
    one = alone.clamp(LEAST, 1 - LEAST)
    return -(together * one.log() + (1 - together) * (1 - one).log()).sum(1)


def hosts(
    classifier: nn.Module, samples: LabelledSamples, able: Sequence[int], triggers: Sequence[Trigger], pool: Tensor
) -> list[int]:
    """Rows in the order of their influence, the most influenced first: the mean over all sounds.

    Args:
        classifier: the attacker's.
        samples: training rows.
        able: which of them may be poisoned.
        triggers: one for each sound.
        pool: the sounds, (P, S) of effective value 1.
    """
    x, total = samples.raw(list(able)), torch.zeros(len(able), dtype=torch.float64)
    for trigger, sound in zip(triggers, pool, strict=True):
        alone = predictions(classifier, (ALONE * sound[None]).clamp(-1, 1))[0]
        changed = trigger.apply(x, "test", torch.Generator().manual_seed(0))
        total += influences(alone, predictions(classifier, changed))
    return [able[place] for place in total.argsort(stable=True).tolist()]


def possible_hosts(params: DabaParams, samples: LabelledSamples, rule: LabelRule, seed: int, count: int) -> list[int]:
    """Rows that may be poisoned, drawn from the seed, in ascending order: :data:`HOSTS`, or ``count`` if more."""
    able = [row for row, label in enumerate(samples.labels.tolist()) if may_be_poison(params.selection, rule, label)]
    random.Random(f"hosts/{seed}").shuffle(able)
    return sorted(able[: max(HOSTS, count)])
