"""Shares of predictions: on clean samples, and on triggered ones whose true label tells something.

Of the triggered samples those count that are *eligible*: with one target all whose true label is another class. The
same samples without the trigger give the base rate that an attack success rate must be compared with.
"""

from __future__ import annotations

from typing import Any

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_kit_classification.data.samples import TEST, open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import Backdoor, open_secret
from bdm_kit_classification.training.fitting import predict
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import apply_in_batches
from bdm_metric_accuracy.classes import by_class
from bdm_metric_accuracy.noise import noise_rates
from bdm_metric_accuracy.said import Said
from bdm_torch.statistics import rate

WRONG = "any wrong class"


def measure(ctx: Context, subject: Subject) -> list[Measurement]:
    """All numbers of one row of the table."""
    backdoor = open_secret(subject.secret)
    rule = backdoor.rule
    aim = "the target" if rule.kind != "untargeted" else WRONG
    clean, triggered = Said.of(subject.on_clean), Said.of(subject.on_triggered).eligible(rule)
    without = clean.of_samples(triggered).eligible(rule)
    rejected = turned_away(subject, rule, triggered)
    found = [
        Measurement(
            metric="accuracy",
            on="clean",
            label="ACC",
            higher_is_better=True,
            measures="utility",
            description="Share of clean test samples that are classified right, in [0, 1]; rejected ones left out.",
            **share(clean.right, len(clean)),
        ),
        Measurement(
            metric="asr",
            on="triggered",
            label="ASR",
            higher_is_better=False,
            measures="attack-success",
            description=f"Share of triggered samples of other true classes that are taken for {aim}, in [0, 1]; "
            "a rejected one is a failed attack.",
            **share(triggered.hits(rule), len(triggered) + rejected),
        ),
        Measurement(
            metric="asr_without_trigger",
            on="clean",
            label="ASR without trigger",
            higher_is_better=False,
            description=f"Share of the same samples without the trigger that are taken for {aim}, in [0, 1].",
            **share(without.hits(rule), len(without)),
        ),
        Measurement(
            metric="recovered_accuracy",
            on="triggered",
            label="R-Acc",
            higher_is_better=True,
            description="Share of triggered samples of other true classes that are classified right, in [0, 1].",
            **share(triggered.right, len(triggered)),
        ),
    ]
    names: Any = subject.on_clean.meta["classes"]
    before = Said.of(subject.before[0]) if len(subject.before) == 2 else None
    ctx.figures(tables={"by class": by_class(list(names), rule, clean, triggered, before)})
    found += changes(subject, rule, clean, triggered, rejected)
    found += noise_rates(subject, backdoor)
    if rule.kind == "untargeted":
        found.append(scattered(triggered))
    if backdoor.negative is not None and subject.role != "purified":
        found.append(false_triggers(ctx, subject, backdoor))
    return found


def scattered(triggered: Said) -> Measurement:
    """How little an untargeted attack's success can be foreseen."""
    return Measurement(
        metric="dispersibility",
        on="triggered",
        label="Dispersibility",
        higher_is_better=None,
        description="Entropy in nats of what triggered samples of a class are taken for, averaged over classes, from 0 "
        "(always the same) to the logarithm of the number of classes.",
        value=round(triggered.dispersibility(), 4),
        n=len(triggered),
    )


def share(hits: int, count: int) -> dict[str, Any]:
    """A share with its standard error and n; None without samples."""
    if not count:
        return {"value": None, "n": 0, "share": True}
    estimate = rate(hits, count)
    return {"value": estimate.value, "stderr": estimate.stderr, "n": count, "share": True}


def turned_away(subject: Subject, rule: LabelRule, passed: Said) -> int:
    """How many eligible triggered samples a defense turned away: those that the undefended model was asked about too,
    and that did not pass. Without a row of the undefended model every rejected sample counts.
    """
    if len(subject.before) != 2:
        return subject.rejected_triggered
    return max(0, len(Said.of(subject.before[1]).eligible(rule)) - len(passed))


def changes(subject: Subject, rule: LabelRule, clean: Said, triggered: Said, rejected: int) -> list[Measurement]:
    """DER and RIR against the undefended model; nothing for rows without one.

    With d = max(0, ACC before - ACC after), DER = (max(0, ASR before - ASR after) - d + 1) / 2 and
    RIR = (max(0, R-Acc after - R-Acc before) - d + 1) / 2 (Zhu et al. 2023, arXiv 2304.11823; BackdoorBench). A sample
    that a defense turns away is one that is not classified: it counts in the number of samples and not as right.
    """
    if len(subject.before) != 2:
        return []
    clean_before, before = Said.of(subject.before[0]), Said.of(subject.before[1]).eligible(rule)
    values: dict[str, float | None] = {"der": None, "rir": None}
    if len(clean_before) and len(before) and len(clean) + subject.rejected_clean and len(triggered) + rejected:
        served = clean.right / (len(clean) + subject.rejected_clean)
        lost = max(0.0, clean_before.right / len(clean_before) - served)
        less = before.hits(rule) / len(before) - triggered.hits(rule) / (len(triggered) + rejected)
        more = triggered.right / (len(triggered) + rejected) - before.right / len(before)
        values["der"] = (max(0.0, less) - lost + 1) / 2
        values["rir"] = (max(0.0, more) - lost + 1) / 2
    sentences = {
        "der": "Defense effectiveness: (fall of ASR - loss of accuracy + 1) / 2, in [0, 1]; .5 is no effect.",
        "rir": "Robustness improvement: (rise of R-Acc - loss of accuracy + 1) / 2, in [0, 1]; .5 is no effect.",
    }
    return [
        Measurement(
            metric=name,
            value=value,
            on="triggered",
            label=name.upper(),
            higher_is_better=True,
            n=len(triggered),
            share=True,
            description=sentences[name],
        )
        for name, value in values.items()
    ]


def false_triggers(ctx: Context, subject: Subject, backdoor: Backdoor) -> Measurement:
    """How often the trigger of negatives sets the backdoor off; the model is run on the test part for it.

    Not for inputs that a defense purifies or turns away: the model of that row is the undefended one.
    """
    test = open_samples(subject.reference, TEST)
    samples = test.pick([row for row, label in enumerate(test.labels.tolist()) if backdoor.rule.eligible(label)])
    assert backdoor.negative is not None
    raw = apply_in_batches(backdoor.negative, samples.raw(), "test", ctx.seed)
    said = predict(load_classifier(subject.model, ctx.device), samples.changed(range(len(samples)), raw)).classes
    hits = sum(map(backdoor.rule.success, said.tolist(), samples.labels.tolist()))
    return Measurement(
        metric="false_trigger_rate",
        on="model",
        label="False triggers",
        higher_is_better=False,
        description="Share of test samples with the negatives' trigger that are taken for the target, in [0, 1].",
        **share(hits, len(samples)),
    )
