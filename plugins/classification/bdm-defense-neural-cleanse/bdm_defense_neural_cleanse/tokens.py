"""The search on texts: a few soft tokens instead of a mask and a pattern (compare equations 2 and 3 of the paper).

A text gets the trigger of a class behind its first token: place i of n there has the vector m_i p_i E, with m_i in
[0, 1], p_i a distribution over all tokens, and E the table of embeddings. The search minimises the cross entropy of the
class plus w times the sum of all m_i, and w adapts as for pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.inversion.params import InversionParams
from bdm_kit_classification.inversion.search import adapted
from bdm_kit_classification.models.text_classifier import NO_TOKEN, TextClassifier
from bdm_torch.draws import Draw

PLACES = 5
"""Tokens of a trigger, at most."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """The triggers found, on the CPU.

    Attributes:
        strengths: m, (K, n) in [0, 1].
        tokens: (K, n) int64, the likeliest of each place.
        success: (K,) share of clean rows that each sends to its class.
        vectors: m p E, (K, n, F).
    """

    strengths: Tensor
    tokens: Tensor
    success: Tensor
    vectors: Tensor

    def sizes(self, wanted: float) -> Tensor:
        """Sum of m, (K,), in tokens; that of all places where ``wanted`` success was not reached.

        >>> rest = torch.zeros(2, 2), torch.tensor([1.0, 0.2]), torch.zeros(2, 2, 1)
        >>> Tokens(torch.tensor([[0.5, 0.25], [0.1, 0.1]]), *rest).sizes(0.9)
        tensor([0.7500, 2.0000])
        """
        size = self.strengths.sum(1)
        return torch.where(self.success >= wanted, size, float(self.strengths.shape[1]))

    def hard(self, place: int) -> Tensor:
        """The tokens of the strongest places of a class, as many as its size says, at least one; in their order."""
        strengths = self.strengths[place]
        count = max(1, round(float(strengths.sum())))
        return self.tokens[place, strengths.topk(count).indices.sort().values]


def put_in(batch: Tensor, put: Tensor) -> Tensor:
    """Behind the first of each row of (N, L, ...) come n others (N, n, ...); what is longer than L then is cut off.

    >>> put_in(torch.tensor([[5, 6, 7, 8]]), torch.tensor([[1, 2]])).tolist()
    [[5, 1, 2, 6]]
    """
    return torch.cat([batch[:, :1], put, batch[:, 1:]], 1)[:, : max(batch.shape[1], 1 + put.shape[1])]


def with_vectors(classifier: TextClassifier, tokens: Tensor, put: Tensor) -> Tensor:
    """Logits (N, K) of texts (N, L) with vectors (N, n, F) behind their first token."""
    mask = put_in(tokens >= 0, put.new_ones(put.shape[:2], dtype=torch.bool))
    return classifier.embedded(put_in(classifier.embed(tokens), put), mask)


def search(ctx: Context, classifier: TextClassifier, samples: LabelledSamples, params: InversionParams) -> Tokens:
    """Find soft tokens for each class; where none succeeded, those of the end.

    Args:
        ctx: seed, device and progress.
        classifier: in evaluation mode; its parameters are left as they are.
        samples: clean rows.
        params: of the search.
    """
    classifier.eval().requires_grad_(False)
    table, count = classifier.embedding.weight, len(classifier.classes)
    device, generator = table.device, torch.Generator().manual_seed(ctx.seed % 2**63)
    start = torch.rand(count, PLACES, generator=generator).clamp(0.01, 0.99)
    free = torch.logit(start).to(device).requires_grad_(True)
    choice = (0.1 * torch.randn(count, PLACES, len(table), generator=generator)).to(device).requires_grad_(True)
    optimiser = torch.optim.Adam([free, choice], lr=params.inversion_rate, betas=(0.5, 0.9))
    weight = torch.full((count,), params.size_weight, device=device)
    streak = torch.zeros(2, count, dtype=torch.int64, device=device)
    kept, kept_choice = torch.sigmoid(free).detach().clone(), choice.detach().clone()
    least, reached = torch.full((count,), float("inf"), device=device), torch.zeros(count, device=device)
    hits = torch.zeros(count, device=device)
    for step in range(params.inversion_steps):
        rows = Draw(ctx.seed, step, min(params.inversion_batch, len(samples))).rows(len(samples))
        texts = samples.modality.collate(samples.raw(rows), classifier)
        m = torch.sigmoid(free)
        put = (m[:, :, None] * (choice.softmax(2) @ table)).repeat_interleave(len(texts), 0)
        logits = with_vectors(classifier, texts.repeat(count, 1), put).view(count, len(texts), -1)
        wanted = torch.arange(count, device=device)[:, None].expand(-1, len(texts))
        error = functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none").mean(1)
        (error + weight * m.sum(1)).sum().backward()
        hits += (logits.argmax(2) == wanted).float().mean(1)
        if (step + 1) % params.check_every == 0 or step + 1 == params.inversion_steps:
            rate, size = hits / (step % params.check_every + 1), m.detach().sum(1)
            enough = rate >= params.success
            better = enough & (size < least) | (least.isinf() & ~enough)
            kept[better], kept_choice[better] = m.detach()[better], choice.detach()[better]
            reached[better] = rate[better]
            least = torch.where(better & enough, size, least)
            weight = adapted(weight, streak, enough, params)
            hits.zero_()
            ctx.progress("trigger inversion", step + 1, params.inversion_steps, float(error.mean().detach()))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    classifier.requires_grad_(True)
    vectors = (kept[:, :, None] * (kept_choice.softmax(2) @ table)).detach()
    return Tokens(kept.cpu(), kept_choice.argmax(2).cpu(), reached.cpu(), vectors.cpu())


def words_of(classifier: TextClassifier, tokens: Tensor) -> str:
    """Tokens as a person reads them."""
    tokenizer = getattr(classifier, "tokenizer", None)
    shown = [number for number in tokens.tolist() if number != NO_TOKEN]
    return str(tokenizer.decode(shown)).strip() if tokenizer is not None else str(shown)
