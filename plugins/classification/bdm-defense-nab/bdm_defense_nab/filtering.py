"""The filter of NAB: an input is turned away if the stamp changes its class.

Under the stamp the model says what a row really is, without it what the attacker wants: the two differ where a trigger
works. Both answers are of the repaired model, so that the filter belongs behind the repair.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_defense_nab.filter_params import NabFilterParams
from bdm_kit_classification.analysis.rows import examine
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.models.image_classifiers import ImageClassifier
from bdm_kit_classification.training.fitting import predict


@dataclass(frozen=True, eq=False)
class Filtered:
    """What a stamping model says of samples, (N,) int64, and which of them the filter turns away, (N,) bool."""

    classes: Tensor
    rejected: Tensor


def filtered(classifier: Classifier, samples: LabelledSamples) -> Filtered | None:
    """The answers of a model that ``nab`` repaired, and those that its filter takes back; None if it has no stamp."""
    if not isinstance(classifier, ImageClassifier) or classifier.config.stamp is None:
        return None
    bare = ImageClassifier(classifier.config.model_copy(update={"stamp": None}), classifier.network)
    said = predict(classifier, samples).classes
    return Filtered(said, said != predict(bare.to(classifier.device), samples).classes)


def measure(ctx: Context, params: NabFilterParams, subject: Subject) -> list[Measurement]:
    """What the filter does with test rows and with the same rows under the trigger; nothing of a model without stamp.

    The numbers are those of the authors' evaluation, but an attack on a row that is turned away counts as failed.
    """
    examined = examine(ctx, subject, params.samples)
    if examined is None:
        return []
    clean, bad = filtered(examined.classifier, examined.clean), filtered(examined.classifier, examined.triggered)
    if clean is None or bad is None:
        return []
    labels = examined.triggered.labels
    success = [examined.rule.success(*pair) for pair in zip(bad.classes.tolist(), labels.tolist(), strict=True)]
    right, right_bad = clean.classes == examined.clean.labels, bad.classes == labels
    lost = torch.tensor(success) & ~bad.rejected
    return [
        share("c_rej", clean.rejected, False, "clean", "C-REJ", "Clean test rows that the filter turns away."),
        share("psr", right & ~clean.rejected, True, "clean", "PSR", "Clean test rows that pass and are right."),
        share("b_rej", bad.rejected, True, "triggered", "B-REJ", "Triggered rows that the filter turns away."),
        share("dsr", bad.rejected | right_bad, True, "triggered", "DSR", "Those turned away or right."),
        share("asr", lost, False, "triggered", "ASR that passes", "Those that pass and get the attacker's class."),
    ]


def share(name: str, which: Tensor, better: bool, on: str, label: str, what: str) -> Measurement:
    """The share of rows (N,) bool."""
    return Measurement(
        metric=name,
        value=float(which.double().mean()),
        on=on,  # type: ignore[arg-type]
        higher_is_better=better,
        n=len(which),
        share=True,
        label=label,
        description=f"{what.rstrip('.')}, with NAB's filter, as a share in [0, 1].",
    )
