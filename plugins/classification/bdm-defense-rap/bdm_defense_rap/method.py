"""RAP (Yang et al., EMNLP 2021, arXiv 2110.07831): a word that disturbs clean texts and not triggered ones."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_rap.params import RapParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.models.text_classifier import TextClassifier
from bdm_kit_classification.training.embedding_rows import Rows, fit_rows, rarest_token
from bdm_kit_classification.training.fitting import Batch, predict
from bdm_kit_classification.triggers.words import InsertedWords
from bdm_torch.draws import Draw


def detect(ctx: Context, params: RapParams, model: Model, data: Data, suspects: Data) -> Detection:
    """A text is as suspicious as it is steady: minus what the word takes of the probability of its class.

    Raises:
        UserError: too few clean texts, or none of their words is one token.
    """
    work, held = open_reserve(data, params.held_out, ctx.seed)
    classifier = cast(TextClassifier, load_classifier(model, ctx.device))
    try:
        word, token = rarest_token(classifier, work.stored)
    except ValueError as error:
        raise UserError(f"{error}: RAP needs one") from None
    rows = open_samples(suspects)
    before = [probabilities(classifier, part) for part in (work, held, rows)]
    steadiness = [torch.zeros(len(part)) for part in (held, rows)]
    for label in range(len(work.classes)):
        row = classifier.embedding.weight[token].detach().clone()
        disturb(ctx, params, classifier, work, before[0], label, (word, token))
        for found, part, known in zip(steadiness, (held, rows), before[1:], strict=True):
            chosen = (known.argmax(1) == label).nonzero().flatten().tolist()
            if chosen:
                after = probabilities(classifier, with_word(part.pick(chosen), word))
                found[chosen] = (after - known[chosen])[:, label]
        with torch.no_grad():
            classifier.embedding.weight[token] = row.to(ctx.device)
        ctx.progress("class", label + 1, len(work.classes))
    found = judged_rows("input", steadiness[1], steadiness[0], params.false_positives)
    return found.model_copy(update={"clean_samples": len(work) + len(held)})


def disturb(
    ctx: Context,
    params: RapParams,
    classifier: TextClassifier,
    samples: LabelledSamples,
    before: Tensor,
    label: int,
    trigger: tuple[str, int],
) -> None:
    """Learn the word's embedding such that it takes between ``least`` and ``largest`` of a class's probability.

    Args:
        ctx: of the stage.
        params: the bounds and the training.
        classifier: whose row of the word is learned, in place.
        samples: clean texts.
        before: (N, K) probabilities of these texts without the word.
        label: the class; without a clean text of it nothing is learned.
        trigger: the word and its token.
    """
    rows = [row for row in samples.rows_of_class(label) if int(before[row].argmax()) == label]
    if not rows:
        return
    word, token = trigger
    sure = before[rows, label]

    def loss(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        now = model(batch.inputs).softmax(1)[:, label]
        taken = sure[batch.rows].to(now) - now
        return (torch.relu(params.least - taken) + torch.relu(taken - params.largest)).mean()

    fit_rows(
        ctx,
        classifier,
        with_word(samples.pick(rows), word),
        params,
        Rows([token], length=params.length, accumulated=params.accumulated),
        loss=loss,
        label=f"word {label}",
    )


def with_word(samples: LabelledSamples, word: str) -> LabelledSamples:
    """The same texts behind a word."""
    return samples.changed(range(len(samples)), InsertedWords((word,), 1, "start").apply(samples.raw(), "test"))


def probabilities(classifier: TextClassifier, samples: LabelledSamples) -> Tensor:
    """(N, K) on the CPU."""
    return predict(classifier, samples).logits.softmax(1)
