"""Texts: stored and raw as strings; a row's text stands in its line of ``rows.jsonl``."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bdm_core.artifacts import Artifact
from bdm_core.errors import ArtifactError
from bdm_kit_classification.modalities.base import DistanceFacts, Modality
from bdm_kit_classification.noise.texts import NOISES
from bdm_kit_classification.tasks.text import TEXT_TASK
from bdm_kit_classification.texts.ngrams import WordModel
from bdm_kit_classification.texts.words import changed_words, edits, join_words, split_words

if TYPE_CHECKING:
    from bdm_core.artifacts import Model
    from bdm_kit_classification.data.parts import Parts
    from bdm_kit_classification.data.sources import Source
    from bdm_kit_classification.models.classifier import Classifier
    from bdm_kit_classification.models.text_classifier import TextClassifier
    from bdm_kit_classification.triggers.trigger import Trigger

SMALL_VOCABULARY = 2000
"""Tokens of an attacker's surrogate."""


class Texts(Modality):
    """Texts of any length; a model cuts off what is too long for it.

    >>> Texts().mix(["one two three four"], ["a b c d"], 0.5)
    ['a b three four']
    """

    task: ClassVar[str] = TEXT_TASK
    row_key: ClassVar[str] = "text"
    measures: ClassVar[Mapping[str, DistanceFacts]] = {
        "edits": DistanceFacts(
            "Edits", "Words put in, taken out or replaced by the trigger, for 100 words of the text, from 0.", False
        ),
        "perplexity_rise": DistanceFacts(
            "Perplexity rise",
            "Rise of the logarithm of a text's perplexity by the trigger, in nats a word, by trigrams of the reserve.",
            False,
        ),
        "same_words": DistanceFacts("Same words", "Share of a text's words that the trigger keeps, in [0, 1].", True),
    }
    noises = NOISES

    def unpack(self, stored: list[str]) -> list[str]:
        """As they are."""
        return list(stored)

    def pack(self, raw: Sequence[str]) -> list[str]:
        """In Unicode's form NFC."""
        return [unicodedata.normalize("NFC", text) for text in raw]

    def take(self, stored: list[str], rows: Sequence[int]) -> list[str]:
        """Chosen texts."""
        return [stored[row] for row in rows]

    def join(self, parts: Sequence[list[str]]) -> list[str]:
        """Texts one after the other."""
        return [text for part in parts for text in part]

    def shape(self, stored: list[str]) -> list[int]:
        """Nothing in common."""
        return []

    def write(self, folder: Path, name: str, stored: list[str]) -> None:
        """JSON lines with ``text``."""
        lines = [json.dumps({self.row_key: text}) + "\n" for text in stored]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")

    def read(self, artifact: Artifact, name: str) -> list[str]:
        """The texts of a file of JSON lines."""
        path = artifact.file(f"{name}.jsonl")
        try:
            return [str(json.loads(line)[self.row_key]) for line in path.read_text(encoding="utf-8").splitlines()]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} is damaged: {error}") from None

    def collate(self, raw: list[str], classifier: Classifier) -> Tensor:
        """Tokens (N, L) on the classifier's device, -1 after the end of a text."""
        return cast("TextClassifier", classifier).tokens(raw)

    def beside(self, one: Tensor, other: Tensor) -> Tensor:
        """Tokens of the longest text of both."""
        return pad_sequence([*one, *other], batch_first=True, padding_value=-1)

    def mix(self, one: list[str], other: list[str], share: float) -> list[str]:
        """Words of the first, of which all but ``share`` are replaced by those of the second, at places drawn for the
        very pair of texts."""
        return [_mixed(a, b, share) for a, b in zip(one, other, strict=True)]

    def perturb(self, raw: list[str], strength: float, seed: int) -> list[str]:
        """Each letter is, with this probability, left out, doubled or another one."""
        draw = random.Random(seed)
        return ["".join(_blurred(letter, strength, draw) for letter in text) for text in raw]

    def distances(self, clean: list[str], changed: list[str]) -> Mapping[str, Tensor]:
        """``edits`` for 100 words, and the share of ``same_words``."""
        pairs = [(split_words(a), split_words(b)) for a, b in zip(clean, changed, strict=True)]
        return {
            "edits": torch.tensor([100.0 * edits(a, b) / max(1, len(a)) for a, b in pairs]),
            "same_words": torch.tensor(
                [1 - sum(x != "" for x, _ in changed_words(a, b)) / max(1, len(a)) for a, b in pairs]
            ),
        }

    def fitted_distances(self, clean: list[str], changed: list[str], others: list[str]) -> Mapping[str, Tensor]:
        """``perplexity_rise`` in nats a word, below 0 where the trigger makes a text more usual."""
        if not others:
            return {}
        model = WordModel([split_words(text) for text in others])
        costs = [[model.surprise(split_words(text)) for text in texts] for texts in (clean, changed)]
        return {"perplexity_rise": torch.tensor(costs[1]) - torch.tensor(costs[0])}

    def open_classifier(self, folder: Path) -> Classifier:
        """One of the kit's own networks, or one of transformers."""
        from bdm_kit_classification.models.text_classifiers import open_text_classifier

        return open_text_classifier(folder)

    def small_classifier(self, stored: list[str], classes: list[str], seed: int) -> Classifier:
        """A TextCNN with a tokenizer of its own, learned from the texts."""
        from bdm_kit_classification.models.text_classifiers import TextConfig, build, train_tokenizer

        tokenizer = train_tokenizer(stored, SMALL_VOCABULARY)
        config = TextConfig(architecture="text-cnn", tokens=tokenizer.get_vocab_size(), classes=list(classes))
        return build(config, tokenizer, seed)

    def export(self, folder: Path, stored: list[str]) -> list[dict[str, Any]]:
        """No files: the text is in the table."""
        return [{self.row_key: text} for text in stored]

    def load(self, source: Source, model: Model, cache: Path, size: int | None) -> Parts:
        """Built-in texts, tables, or those of the library datasets."""
        from bdm_kit_classification.data.text_data import read_texts

        return read_texts(source, cache)

    def example(self, model: Model) -> tuple[list[str], Trigger]:
        """Two sentences and a word at their beginning."""
        from bdm_kit_classification.triggers.words import InsertedWords

        return ["a good film", "a long and bad one"], InsertedWords(("cf",), 1, "start")


def _mixed(one: str, other: str, share: float) -> str:
    words, more = split_words(one), split_words(other)
    draw = random.Random(f"{one}\n{other}")
    replaced = draw.sample(range(len(words)), round((1 - share) * len(words))) if more else []
    for place in replaced:
        words[place] = more[place % len(more)]
    return join_words(words)


def _blurred(letter: str, strength: float, draw: random.Random) -> str:
    if not letter.isalpha() or draw.random() >= strength:
        return letter
    other = draw.choice("abcdefghijklmnopqrstuvwxyz")
    return draw.choice(("", letter * 2, other))
