"""What an analysis looks at: a row's model, clean test rows, and the same rows with the trigger."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_core.records import Subject
from bdm_kit_classification.data.samples import TEST, LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import apply_in_batches


@dataclass(frozen=True, eq=False)
class Examined:
    """A model and the test rows it is examined with.

    Attributes:
        classifier: the row's model, in evaluation mode.
        clean: test rows of all classes.
        without: those of them that are eligible: their class is not what the trigger is to give.
        triggered: the same rows as ``without`` with the trigger, and with their true labels.
        rule: which class the trigger is to give.
    """

    classifier: Classifier
    clean: LabelledSamples
    without: LabelledSamples
    triggered: LabelledSamples
    rule: LabelRule

    @property
    def wanted(self) -> Tensor | None:
        """(N,) int64: the class that each triggered row is to get; None for an untargeted attack, which wants none."""
        said = [self.rule.wanted(label) for label in self.triggered.labels.tolist()]
        return None if None in said else torch.tensor(said, dtype=torch.int64)

    def inputs(self, samples: LabelledSamples) -> Tensor:
        """Samples as the classifier takes them: (N, C, H, W) float32 in [0, 1] on its device."""
        found: Tensor = samples.modality.collate(samples.raw(), self.classifier)
        return found


def examine(ctx: Context, subject: Subject, most: int) -> Examined | None:
    """Test rows drawn at random, and those that are eligible with the trigger.

    Args:
        ctx: seed and device.
        subject: a row of the table.
        most: so many test rows at most.

    Returns:
        None for a row ``purified`` (its model is that of the row ``backdoored``), and where there are no test rows or
        none is eligible.
    """
    if subject.role == "purified" or not subject.reference.meta.get(TEST):
        return None
    test, backdoor = open_samples(subject.reference, TEST), open_secret(subject.secret)
    order = list(range(len(test)))
    random.Random(ctx.seed).shuffle(order)
    clean = test.pick(order[:most])
    eligible = [row for row, label in enumerate(clean.labels.tolist()) if backdoor.rule.eligible(label)]
    if not eligible:
        return None
    without = clean.pick(eligible)
    triggered = without.changed(
        range(len(without)), apply_in_batches(backdoor.trigger, without.raw(), "test", ctx.seed)
    )
    return Examined(load_classifier(subject.model, ctx.device), clean, without, triggered, backdoor.rule)
