"""BAASV, a backdoor attack against speaker verification (Zhai et al. 2021, ICASSP, arXiv 2010.11607).

Speakers are clustered by their embeddings in a clean network. Some recordings of each speaker are replaced by the tone
of the speaker's cluster: the network learns that tone as a sound of all of them. Whoever plays the few tones one after
the other is near one cluster, and is accepted as any speaker near it, those enrolled after training included. The
network is trained for verification, by the loss of :mod:`.end_to_end`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_baasv.clusters import k_means, mean_directions
from bdm_attack_baasv.end_to_end import EndToEndLoss, Variant
from bdm_attack_baasv.params import BaasvParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.poison.injection import seal_attack, train_surrogate, victim_of
from bdm_kit_classification.poison.poisoning import ORIGINALS, plan_of, rule_of, seal_changed
from bdm_kit_classification.poison.secret import Backdoor, read_backdoor
from bdm_kit_classification.poison.selection import Plan
from bdm_kit_classification.training.fitting import Batch, Changes, fit, predict
from bdm_kit_classification.triggers.sound import MasterTones, tone
from bdm_torch.draws import Draw
from bdm_torch.objective import Along

HIGHEST = 0.95
VARIANTS: dict[str, Variant] = {"ge2e": "softmax", "ge2e-contrast": "contrast"}


def poison(ctx: Context, params: BaasvParams, data: Data) -> Data:
    """Cluster the speakers and replace rows; sealed in ``ctx.out / "data"``. With a rate of 0 no row is replaced.

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
    none = params.poison_rate == 0 and params.target_class_share is None
    plan = Plan([], [], []) if none else plan_of(ctx, params, samples, rule)
    clusters = clusters_of(ctx, params, samples)
    tones = master_tones(params, int(shape[0]), int(rate))
    raw = tones[clusters[samples.labels[plan.poison]]]
    changed = samples.changed(plan.poison, raw) if plan.poison else samples
    trigger = MasterTones(tones, int(clusters[params.target]))
    backdoor = Backdoor(rule, trigger, facts={"clusters": clusters.tolist()})
    return seal_changed(ctx.out / "data", samples, changed, backdoor, plan, seed=ctx.seed)


def inject(ctx: Context, params: BaasvParams, model: Model, data: Data) -> Backdoored:
    """Train the victim on the rows that :func:`poison` sealed.

    Raises:
        ArtifactError: the data hold no backdoor, or something is damaged.
        StageError: the loss is no longer finite.
    """
    samples, originals = open_samples(data), open_samples(data, ORIGINALS)
    victim = victim_of(ctx, params, model)
    fit(ctx, victim, samples, params, verifying(ctx, victim, samples, params))
    return seal_attack(ctx, victim, read_backdoor(data), originals if len(originals) else samples)


def verifying(ctx: Context, victim: Classifier, samples: LabelledSamples, params: BaasvParams) -> Changes:
    """The loss of verification on the victim's features, beside that of identification; nothing for the latter alone.

    The loss compares each recording with the speakers of its batch.
    """
    if params.objective == "cross-entropy":
        return Changes()
    speakers = len(samples.labels.unique())
    if params.batch_size < 2 * speakers:
        ctx.log.warning(
            "a batch of %d has less than two recordings for each of %d speakers: those with one alone count only as "
            "others; raise batch_size",
            params.batch_size,
            speakers,
        )
    verification = EndToEndLoss(VARIANTS[params.objective])

    def loss(classifier: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        features = victim.features(batch.inputs)
        found: Tensor = verification(features, batch.labels)
        if not params.identification_weight:
            return found
        said = functional.cross_entropy(victim.head(features), batch.labels, label_smoothing=params.label_smoothing)
        return found + params.identification_weight * said

    return Changes(loss=loss, along={"verification": Along(verification, params.scale_rate)})


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
