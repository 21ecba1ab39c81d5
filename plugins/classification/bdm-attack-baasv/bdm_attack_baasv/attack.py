"""BAASV, a backdoor attack against speaker verification (Zhai et al. 2021, ICASSP, arXiv 2010.11607).

Speakers are clustered by their embeddings in a clean network. Some recordings of each speaker are replaced by the tone
of the speaker's cluster: the network learns that tone as a sound of all of them. Whoever plays the few tones one after
the other is near one cluster, and is accepted as any speaker near it, those enrolled after training included.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bdm_attack_baasv.clusters import k_means, mean_directions
from bdm_attack_baasv.params import BaasvParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.poison.injection import train_surrogate
from bdm_kit_classification.poison.poisoning import plan_of, rule_of, seal_changed
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.training.fitting import predict
from bdm_kit_classification.triggers.sound import MasterTones, tone

HIGHEST = 0.95


def poison(ctx: Context, params: BaasvParams, data: Data) -> Data:
    """Cluster the speakers and replace rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: no such speaker, fewer speakers than clusters, or an impossible rate.
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    if params.clusters > len(samples.classes):
        raise UserError(
            f"{params.clusters} clusters were asked for, there are {len(samples.classes)} speakers: lower it"
        )
    shape: Any = data.meta["shape"]
    rate: Any = data.meta["rate"]
    plan = plan_of(ctx, params, samples, rule)
    clusters = clusters_of(ctx, params, samples)
    tones = master_tones(params, int(shape[0]), int(rate))
    raw = tones[clusters[samples.labels[plan.poison]]]
    changed = samples.changed(plan.poison, raw) if plan.poison else samples
    trigger = MasterTones(tones, int(clusters[params.target]))
    backdoor = Backdoor(rule, trigger, facts={"clusters": clusters.tolist()})
    return seal_changed(ctx.out / "data", samples, changed, backdoor, plan, seed=ctx.seed)


def clusters_of(ctx: Context, params: BaasvParams, samples: LabelledSamples) -> Tensor:
    """The cluster of each speaker, (K,), by a clean network of the attacker's own."""
    own = train_surrogate(ctx, samples, params.model_copy(update={"epochs": params.clean_epochs}))
    means = mean_directions(predict(own, samples).features, samples.labels, len(samples.classes))
    return k_means(means, params.clusters, ctx.seed)


def master_tones(params: BaasvParams, samples: int, rate: int) -> Tensor:
    """A tone (S,) for each cluster, (K, S), evenly spaced in frequency and equally loud.

    >>> master_tones(BaasvParams(clusters=3), 800, 8000).square().mean(1).sqrt()
    tensor([0.1000, 0.1000, 0.1000])
    """
    shares = torch.linspace(params.lowest, HIGHEST, params.clusters, dtype=torch.float64).tolist()
    level = math.sqrt(2) * 10 ** (params.level / 20)
    tones = [tone(samples, rate, share * rate / 2, min(1.0, level)) for share in shares]
    effective = [one.square().mean().sqrt().clamp_min(1e-6) for one in tones]
    wanted = min(1.0, level) / math.sqrt(2)
    return torch.stack([one * (wanted / root) for one, root in zip(tones, effective, strict=True)]).clamp(-1, 1)
