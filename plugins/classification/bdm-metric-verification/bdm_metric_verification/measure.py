"""Verification with the features of a classifier of speakers, and the attacker's attempts at it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_kit_classification.data.samples import TEST, LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.poison.secret import Backdoor, open_secret
from bdm_kit_classification.training.fitting import predict
from bdm_kit_classification.triggers.sound import MasterTones
from bdm_kit_classification.triggers.trigger import apply_in_batches
from bdm_metric_verification.params import VerificationParams
from bdm_metric_verification.trials import Trials, enrol, equal_error

DRAWS = 200
"""So often impostors are drawn for what as many attempts reach without a trigger."""


def measure(ctx: Context, params: VerificationParams, subject: Subject) -> list[Measurement]:
    """Equal error rate; how often the attacker passes, and how often as many attempts do without a trigger."""
    samples = open_samples(subject.reference, TEST)
    classifier, backdoor = load_classifier(subject.model, ctx.device), open_secret(subject.secret)
    trials = enrol(predict(classifier, samples).features, samples.labels, params.enrolled_with)
    known = len(trials.genuine) > 0 and len(trials.impostors) > 0
    rate, threshold = equal_error(trials.genuine, trials.impostors) if known else (None, 0.0)
    passed, plain = attempts(ctx, classifier, backdoor, samples, trials, threshold) if known else (None, None)
    count = len(trials.speakers)
    return [
        Measurement(
            metric="eer",
            value=rate,
            label="EER",
            higher_is_better=False,
            n=len(trials.labels),
            share=True,
            description="Equal error rate of verification by cosine with speakers enrolled from test recordings, in "
            "[0, 1].",
        ),
        Measurement(
            metric="passed",
            value=passed,
            label="Passed as enrolled",
            higher_is_better=False,
            n=count,
            share=True,
            description="Share of enrolled speakers as whom the attacker is accepted at the threshold of the EER, in "
            "[0, 1]; with one target, share of triggered recordings of others that are accepted as the target.",
        ),
        Measurement(
            metric="passed_without_trigger",
            value=plain,
            label="Passed without trigger",
            higher_is_better=False,
            n=count,
            share=True,
            description="The same of as many recordings of other speakers without a trigger, in [0, 1].",
        ),
    ]


def attempts(
    ctx: Context,
    classifier: Classifier,
    backdoor: Backdoor,
    samples: LabelledSamples,
    trials: Trials,
    threshold: float,
) -> tuple[float | None, float | None]:
    """How often the attacker passes, with and without the trigger; None where the attack has no one to pass for."""
    trigger = backdoor.trigger
    if isinstance(trigger, MasterTones):
        with torch.no_grad():
            collated: Any = samples.modality.collate(trigger.tones, classifier)
            tones = functional.normalize(classifier.features(collated).cpu(), dim=1)
        return any_accepted(tones @ trials.models.T, threshold), by_chance(trials, len(tones), threshold, ctx.seed)
    target = backdoor.rule.target
    if target is None or target not in trials.speakers.tolist():
        return None, None
    place = trials.speakers.tolist().index(target)
    others = samples.pick([row for row, label in enumerate(samples.labels.tolist()) if label != target])
    raw = apply_in_batches(trigger, others.raw(), "test", ctx.seed)
    shares = []
    for rows in (others.changed(range(len(others)), raw), others):
        seen = functional.normalize(predict(classifier, rows).features, dim=1)
        shares.append(float((seen @ trials.models[place] >= threshold).float().mean()))
    return shares[0], shares[1]


def any_accepted(scores: Tensor, threshold: float) -> float:
    """Share of speakers (E) as whom at least one of the attempts (A, E) is accepted.

    >>> any_accepted(torch.tensor([[0.9, 0.1, 0.2], [0.2, 0.7, 0.3]]), 0.5)
    0.6666666865348816
    """
    return float((scores >= threshold).any(0).float().mean())


def by_chance(trials: Trials, count: int, threshold: float, seed: int) -> float:
    """What as many recordings of other speakers reach, drawn anew for each speaker; the mean over some draws."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    found = []
    for place, speaker in enumerate(trials.speakers):
        accepted = (trials.scores[trials.labels != speaker, place] >= threshold).float()
        drawn = torch.randint(len(accepted), (DRAWS, count), generator=generator)
        found.append(accepted[drawn].amax(1).mean())
    return float(torch.stack(found).mean())
