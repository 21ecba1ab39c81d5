"""Train some rows of a text classifier's embedding and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.text_classifier import TextClassifier
from bdm_kit_classification.training.fitting import BatchLoss, Changes, fit
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_torch.objective import Step, StepRule


@dataclass(frozen=True)
class Rows:
    """Which rows are trained.

    Attributes:
        tokens: of the rows.
        length: after each step a row is brought to so many times the length that it had; None: it is free.
        equalised: the gradient of each row is brought to the length of the shortest one before the step.
        accumulated: a row's gradient is the sum of those of all steps so far, as momentum without any loss.
    """

    tokens: Sequence[int]
    length: float | None = None
    equalised: bool = False
    accumulated: bool = False


def fit_rows(
    ctx: Context,
    classifier: TextClassifier,
    samples: LabelledSamples,
    params: ClassifierTraining,
    which: Rows,
    *,
    loss: BatchLoss | None = None,
    label: str = "train",
) -> None:
    """Train the embeddings of these tokens in place; every other number of the classifier keeps its bits.

    Args:
        ctx: of the stage.
        classifier: in evaluation mode and on the stage's device afterwards.
        samples: what is trained on.
        params: of the training.
        which: the rows.
        loss: replaces cross entropy.
        label: names checkpoint, progress and curve.

    Raises:
        StageError: the loss is no longer finite.
    """
    table = classifier.embedding.weight
    before = table.detach().cpu().clone()
    rows = torch.tensor(sorted(set(which.tokens)))
    lengths = (which.length or 1.0) * before[rows].norm(dim=1, keepdim=True)
    trained = {name: parameter.requires_grad for name, parameter in classifier.named_parameters()}
    for parameter in classifier.parameters():
        parameter.requires_grad_(parameter is table)

    def restore(step: int) -> None:
        with torch.no_grad():
            weight = classifier.embedding.weight
            new = weight[rows.to(weight.device)].cpu()
            kept = before.clone()
            kept[rows] = new * (lengths / new.norm(dim=1, keepdim=True).clamp_min(1e-12)) if which.length else new
            weight.copy_(kept)

    total = torch.zeros(len(rows), table.shape[1])
    rule = row_step(rows, which, total) if which.equalised or which.accumulated else None
    state = {"gradients": total} if which.accumulated else {}
    changes = Changes(loss=loss, step=rule, after_step=restore, evaluation_mode=True, state=state)
    fit(ctx, classifier, samples, params, changes, label=label)
    restore(-1)
    for name, parameter in classifier.named_parameters():
        parameter.requires_grad_(trained[name])


def row_step(rows: Tensor, which: Rows, total: Tensor) -> StepRule:
    """A plain step of one table with other gradients of some rows: sums over all steps, of one length, or both.

    Of one length means that of the shortest which is not 0, so that no word of a trigger is learned faster than the
    others (SOS, Yang et al., ACL 2021).

    Args:
        rows: (R,) int64, those of the table.
        which: how gradients are changed.
        total: (R, F), the sum so far, changed in place.
    """

    def rule(step: Step) -> Tensor:
        loss = step.backward()
        (table,) = step.parameters
        if table.grad is not None:
            chosen = rows.to(table.device)
            gradients = table.grad[chosen]
            if which.accumulated:
                gradients = total.add_(gradients.to(total)).to(table)
            norms = gradients.norm(dim=1, keepdim=True)
            if which.equalised and bool(norms.any()):
                gradients = gradients * (norms[norms > 0].min() / norms.clamp_min(1e-30))
            table.grad[chosen] = gradients
        step.optimise()
        return loss

    return rule


def rarest_token(classifier: TextClassifier, texts: Sequence[str]) -> tuple[str, int]:
    """The rarest word of some texts that is one token, and the token; of equally rare ones the first by letters.

    Raises:
        ValueError: no word is one token.
    """
    counts: dict[str, int] = {}
    for text in texts:
        for word in text.split():
            counts[word] = counts.get(word, 0) + 1
    for word in sorted(counts, key=lambda word: (counts[word], word)):
        if word.isalpha() and (token := classifier.token_of(word)) is not None:
            return word, token
    raise ValueError("no word of the texts is one token")
