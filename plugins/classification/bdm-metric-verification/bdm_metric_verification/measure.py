"""Verification with the features of a classifier of speakers, and the attacker's attempts at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Measurement, Subject
from bdm_kit_classification.data.opening import open_rows
from bdm_kit_classification.data.samples import TEST, UNKNOWN, LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.poison.secret import Backdoor, open_secret
from bdm_kit_classification.training.fitting import predict
from bdm_kit_classification.triggers.sound import MasterTones
from bdm_kit_classification.triggers.trigger import apply_in_batches
from bdm_metric_verification.params import VerificationParams
from bdm_metric_verification.trials import Trials, enrol, equal_error

DRAWS = 200
"""So often impostors are drawn for what as many attempts reach without a trigger."""


@dataclass(frozen=True)
class Verification:
    """What verification of some speakers gives.

    Attributes:
        rate: equal error rate; None without trials of both kinds.
        passed: how often the attacker is accepted; None where the attack has no one to pass for.
        plain: how often as many attempts without a trigger are.
        trials: recordings that were tried.
        speakers: how many are enrolled.
    """

    rate: float | None
    passed: float | None
    plain: float | None
    trials: int
    speakers: int


def measure(ctx: Context, params: VerificationParams, subject: Subject) -> list[Measurement]:
    """Equal error rate; how often the attacker passes, and how often as many attempts do without a trigger.

    Raises:
        UserError: the other speakers cannot be read, or are too few.
    """
    samples = open_samples(subject.reference, TEST)
    others = further_speakers(ctx, params, subject) if params.others else None
    classifier, backdoor = load_classifier(subject.model, ctx.device), open_secret(subject.secret)
    own = verify(ctx, params.enrolled_with, classifier, backdoor, samples, backdoor.rule.target)
    found = told(own, "", "", "speakers enrolled from test recordings")
    if others is not None:
        more = verify(ctx, params.enrolled_with, classifier, backdoor, others, None)
        found += told(more, "_others", ", others", "further speakers, those of `others`")
    return found


def told(found: Verification, ending: str, label: str, whom: str) -> list[Measurement]:
    """The three numbers of some speakers."""
    return [
        Measurement(
            metric=f"eer{ending}",
            value=found.rate,
            label=f"EER{label}",
            higher_is_better=False,
            n=found.trials,
            share=True,
            description=f"Equal error rate of verification by cosine with {whom}, in [0, 1].",
        ),
        Measurement(
            metric=f"passed{ending}",
            value=found.passed,
            label=f"Passed as enrolled{label}",
            higher_is_better=False,
            n=found.speakers,
            share=True,
            description=f"Share of {whom} as whom the attacker is accepted at the threshold of the EER, in [0, 1]"
            + ("." if ending else "; with one target, share of triggered recordings that are accepted as the target."),
        ),
        Measurement(
            metric=f"passed_without_trigger{ending}",
            value=found.plain,
            label=f"Passed without trigger{label}",
            higher_is_better=False,
            n=found.speakers,
            share=True,
            description=f"The same for as many recordings of other speakers without a trigger ({whom}), in [0, 1].",
        ),
    ]


def further_speakers(ctx: Context, params: VerificationParams, subject: Subject) -> LabelledSamples:
    """The recordings of ``others``, at the model's rate and of its length.

    Raises:
        UserError: there are no such data, a file cannot be read, or fewer than two speakers have enough recordings.
    """
    samples = open_rows(params.others, subject.model, ctx.work)
    samples = samples.pick(samples.labels != UNKNOWN)
    counts = samples.labels.unique(return_counts=True)[1]
    able = int((counts > params.enrolled_with).sum())
    if able < 2:
        raise UserError(
            f"{params.others} has {able} speakers with more than {params.enrolled_with} recordings, verification needs "
            "two: add some, or lower metric:verification.enrolled_with"
        )
    if able < len(counts):
        ctx.log.warning("%s: %d of %d speakers have too few recordings", params.others, len(counts) - able, len(counts))
    if params.others == subject.reference.meta.get("source"):
        ctx.log.warning("%s are the speakers of training: give others that it did not hear", params.others)
    return samples


def verify(
    ctx: Context,
    enrolled_with: int,
    classifier: Classifier,
    backdoor: Backdoor,
    samples: LabelledSamples,
    target: int | None,
) -> Verification:
    """Enrol the speakers of some recordings, and try the other recordings and the attacker's.

    Args:
        ctx: of the stage.
        enrolled_with: recordings of each speaker.
        classifier: whose features are compared.
        backdoor: of the attack.
        samples: recordings with the speakers' numbers.
        target: the speaker among them whom an attack with one target is to pass for; None if there is none.
    """
    trials = enrol(predict(classifier, samples).features, samples.labels, enrolled_with)
    if not len(trials.genuine) or not len(trials.impostors):
        return Verification(None, None, None, len(trials.labels), len(trials.speakers))
    rate, threshold = equal_error(trials.genuine, trials.impostors)
    trigger = backdoor.trigger
    passed: float | None = None
    plain: float | None = None
    if isinstance(trigger, MasterTones):
        with torch.no_grad():
            collated: Any = samples.modality.collate(trigger.tones, classifier)
            tones = functional.normalize(classifier.features(collated).cpu(), dim=1)
        passed = any_accepted(tones @ trials.models.T, threshold)
        plain = by_chance(trials, len(tones), threshold, ctx.seed)
    elif target in trials.speakers.tolist():
        place = trials.speakers.tolist().index(target)
        others = samples.pick(samples.labels != target)
        triggered = others.changed(range(len(others)), apply_in_batches(trigger, others.raw(), "test", ctx.seed))
        passed, plain = (accepted(classifier, rows, trials.models[place], threshold) for rows in (triggered, others))
    return Verification(rate, passed, plain, len(trials.labels), len(trials.speakers))


def accepted(classifier: Classifier, samples: LabelledSamples, model: Tensor, threshold: float) -> float:
    """Share of recordings that are accepted as one speaker, whose mean direction (F,) is given."""
    seen = functional.normalize(predict(classifier, samples).features, dim=1)
    return float((seen @ model >= threshold).float().mean())


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
