"""The protocol of a classifier of texts: tokens, embeddings, logits."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.tasks.text import TEXT_TASK

NO_TOKEN = -1
"""Stands where a text of a batch is shorter than the longest."""


class TextClassifier(Classifier):
    """A classifier of texts. Its inputs are tokens (N, L), int64, :data:`NO_TOKEN` after the end of a text.

    Texts become tokens by :meth:`tokens`, tokens become vectors by :meth:`embed`, and vectors, of tokens or not, are
    classified by :meth:`embedded`: gradients reach them.
    """

    task = TEXT_TASK

    @abstractmethod
    def token_lists(self, texts: list[str]) -> list[list[int]]:
        """The tokens of each text, at most as many as the model takes, at least one."""

    @property
    @abstractmethod
    def embedding(self) -> nn.Embedding:
        """The table of embeddings, a row a token."""

    @abstractmethod
    def embedded_features(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Penultimate features (N, F) of vectors (N, L, E); ``mask`` (N, L) is true where there is one."""

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """What each layer makes of tokens (N, L), from the first to the last: (N, F) each, the mean over the text; none
        of a network without a stack of layers."""
        return []

    def tokens(self, texts: list[str]) -> Tensor:
        """Texts as tokens (N, L) on the classifier's device."""
        lists = self.token_lists(texts)
        found = torch.full((len(lists), max(map(len, lists), default=1)), NO_TOKEN, dtype=torch.int64)
        for row, entry in enumerate(lists):
            found[row, : len(entry)] = torch.tensor(entry)
        return found.to(self.device)

    def embed(self, tokens: Tensor) -> Tensor:
        """The vectors (N, L, E) of tokens (N, L); those of :data:`NO_TOKEN` mean nothing."""
        found: Tensor = self.embedding(tokens.clamp_min(0))
        return found

    def embedded(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Logits (N, K) of vectors (N, L, E); ``mask`` (N, L) is true where there is one."""
        found: Tensor = self.head(self.embedded_features(vectors, mask))
        return found

    def features(self, inputs: Tensor) -> Tensor:
        """Penultimate features (N, F) of tokens (N, L)."""
        return self.embedded_features(self.embed(inputs), inputs >= 0)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K) of tokens (N, L)."""
        found: Tensor = self.head(self.features(inputs))
        return found

    def token_of(self, word: str) -> int | None:
        """The token that stands for a word within a text, or None if it is split into several.

        Where the tokenizer marks the beginning of a text, that mark is not counted.
        """
        with_word, without = (self.token_lists([text])[0] for text in (f"a {word} a", "a a"))
        start = next(
            (place for place, pair in enumerate(zip(with_word, without, strict=False)) if pair[0] != pair[1]), None
        )
        return with_word[start] if start is not None and len(with_word) == len(without) + 1 else None


def mean_over(mask: Tensor, hidden: Tensor) -> Tensor:
    """The mean (N, F) of vectors (N, L, F) where the mask (N, L) is true.

    >>> mean_over(torch.tensor([[True, False]]), torch.tensor([[[1.0], [5.0]]])).tolist()
    [[1.0]]
    """
    shown = mask[:, :, None].to(hidden.dtype)
    return (hidden * shown).sum(1) / shown.sum(1).clamp_min(1)
