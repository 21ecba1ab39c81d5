"""What removes a backdoor once its trigger is known: unlearning, or pruning (Wang et al. 2019, section VI)."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.operating_point import choose, report_choice
from bdm_kit_classification.inversion.params import InversionParams
from bdm_kit_classification.inversion.search import stamped
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import Batch, Changes, accuracy, fit
from bdm_torch.draws import Draw


def unlearn(
    ctx: Context,
    classifier: Classifier,
    samples: LabelledSamples,
    params: InversionParams,
    masks: Tensor,
    patterns: Tensor,
) -> None:
    """Train on clean rows, of which a share carries one of the triggers and keeps its true label; in place."""

    def stamp(batch: Batch, draw: Draw) -> Batch:
        chance, which = draw.uniform(), (draw.uniform() * len(masks)).long().cpu()
        mask, pattern = masks[which].to(batch.inputs), patterns[which].to(batch.inputs)
        marked = (chance < params.stamped)[:, None, None, None]
        return replace(batch, inputs=torch.where(marked, stamped(batch.inputs, mask, pattern), batch.inputs))

    fit(ctx, classifier, samples, params, Changes(batch=stamp), label="unlearn the trigger")


def prune(
    ctx: Context,
    classifier: Classifier,
    kept: LabelledSamples,
    held: LabelledSamples,
    params: InversionParams,
    triggers: tuple[Tensor, Tensor],
) -> Classifier:
    """Silence the last features that the triggers excite most, until the triggers work no more.

    Features are ranked by how much higher their mean is on stamped rows than on clean ones. One more is silenced at a
    time; it ends where the triggers change no more predictions than the paper's 1 - success, or where the accuracy on
    held-out rows would fall by more than ``params.accuracy_loss``.

    Args:
        kept: clean rows that rank.
        held: held-out clean rows that bound the loss of accuracy.
        triggers: masks and patterns.

    Returns:
        The pruned classifier; the given one stays as it is.
    """
    classifier.eval()
    inputs = kept.modality.collate(kept.raw(), classifier)
    with torch.no_grad():
        clean = classifier.features(inputs)
        marked = torch.cat(
            [classifier.features(stamped(inputs, m.to(inputs), p.to(inputs))) for m, p in zip(*triggers, strict=True)]
        )
        order = (marked.mean(0) - clean.mean(0)).argsort(descending=True, stable=True)
        before = classifier.head(clean).argmax(1).repeat(len(triggers[0]))
    original = classifier.head.weight.detach().clone()

    def silence(count: int) -> None:
        with torch.no_grad():
            classifier.head.weight.copy_(original)
            classifier.head.weight[:, order[:count]] = 0

    candidates = []
    for count in range(1, len(order) + 1):
        candidates.append(count)
        silence(count)
        with torch.no_grad():
            changed = (classifier.head(marked).argmax(1) != before).float().mean()
        if float(changed) <= 1 - params.success:
            break

    def accuracy_of(count: int) -> float:
        silence(count)
        return accuracy(classifier, held)

    silence(0)
    usual = accuracy(classifier, held)
    choice = choose(candidates, accuracy_of, before=usual, accuracy_loss=params.accuracy_loss)
    report_choice(ctx, choice, knob="features silenced")
    silence(choice.place + 1)
    pruned = copy.deepcopy(classifier)
    silence(0)
    return pruned
