"""Classifiers of texts: the kit's own networks with a byte-level BPE, and the way to those of transformers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, ValidationError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

from bdm_core.artifacts import Record
from bdm_core.errors import ArtifactError
from bdm_kit_classification.models.classifier import Classifier, PrunableLayer
from bdm_kit_classification.models.folders import ARCHITECTURE, CONFIG, STEM, read_config
from bdm_kit_classification.models.text_classifier import TextClassifier, mean_over
from bdm_kit_classification.models.text_networks import NETWORKS, TextTransformer
from bdm_torch.draws import built_with_seed
from bdm_torch.foreign_models import first_line, load_weights, require_ids, require_room
from bdm_torch.tensors import write_tensors

TOKENIZER = "tokenizer.json"
UNKNOWN = "<unknown>"
"""The token of an empty text."""


class TextConfig(Record):
    """``config.json`` of one of the kit's own networks for texts.

    Attributes:
        architecture: ``text-cnn`` or ``text-transformer``.
        width: of its embedding; None for the usual.
        tokens: size of the vocabulary.
        longest: tokens of the longest text; what is longer is cut off.
        classes: their names.
        trained_on: the data it was trained on, as ``--data`` takes it; "" if unknown.
        fingerprint: of these data, if they depend on what is installed.
    """

    architecture: Literal["text-cnn", "text-transformer"] = Field(alias=ARCHITECTURE)
    width: int | None = Field(None, ge=4, le=4096, multiple_of=4)
    tokens: int = Field(ge=2, le=1_000_000)
    longest: int = Field(128, ge=1, le=8192)
    classes: list[str] = Field(min_length=2, max_length=100_000)
    trained_on: str = ""
    fingerprint: str = ""

    model_config = {**Record.model_config, "populate_by_name": True}


class OwnTextClassifier(TextClassifier):
    """One of the kit's own networks with its tokenizer.

    Args:
        config: its configuration.
        network: one of :data:`bdm_kit_classification.models.text_networks.NETWORKS`.
        tokenizer: of the library tokenizers.
    """

    suited = ("adamw", 0.04)

    def __init__(self, config: TextConfig, network: nn.Module, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.config, self.network, self.tokenizer = config, network, tokenizer
        self.classes, self.trained_on = list(config.classes), config.trained_on

    def token_lists(self, texts: list[str]) -> list[list[int]]:
        """Byte-level BPE; an empty text is one unknown token."""
        found = self.tokenizer.encode_batch([f" {text}" for text in texts])
        return [entry.ids[: self.config.longest] or [0] for entry in found]

    @property
    def embedding(self) -> nn.Embedding:
        """The table of embeddings."""
        return cast(nn.Embedding, self.network.embedding)

    def embedded_features(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Penultimate features (N, F)."""
        return cast(Tensor, cast(Any, self.network).body(vectors, mask))

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """One of each block of a Transformer."""
        if not isinstance(self.network, TextTransformer):
            return []
        mask = inputs >= 0
        return [mean_over(mask, hidden) for hidden in self.network.hidden(self.embed(inputs), mask)]

    @property
    def head(self) -> nn.Linear:
        """The last linear map."""
        return cast(nn.Linear, self.network.head)

    def prunable_layers(self) -> list[PrunableLayer]:
        """All convolutions, or what mixes and widens in each block."""
        modules: dict[str, Any] = dict(self.network.named_modules())
        pairs: Any = self.network.pairs
        return [PrunableLayer(f"network.{name}", modules[name], None) for name, _ in pairs]

    def fresh(self, seed: int) -> OwnTextClassifier:
        """The same architecture and tokenizer with new weights."""
        return build(self.config, self.tokenizer, seed)

    def write(self, folder: Path) -> None:
        """``config.json``, ``tokenizer.json`` and ``model.safetensors``."""
        text = json.dumps(self.config.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
        (folder / TOKENIZER).write_text(self.tokenizer.to_str() + "\n", encoding="utf-8")
        write_tensors(folder / f"{STEM}.safetensors", self.network.state_dict())

    def facts(self) -> dict[str, object]:
        """Classes, data and their fingerprint."""
        known = {"fingerprint": self.config.fingerprint} if self.config.fingerprint else {}
        return {"shape": [], "classes": self.classes, "trained_on": self.trained_on, **known}


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE (Sennrich et al. 2016) of at most so many tokens, learned from texts; nothing is unknown to it.

    >>> tokenizer = train_tokenizer(["a good film", "a bad film"] * 9, 300)
    >>> tokenizer.decode(tokenizer.encode(" a good fïlm").ids)
    ' a good fïlm'
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[UNKNOWN], initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator([f" {text}" for text in texts], trainer)
    return tokenizer


def build(config: TextConfig, tokenizer: Tokenizer, seed: int) -> OwnTextClassifier:
    """A classifier with new weights, drawn from the seed; in evaluation mode.

    >>> tokenizer = train_tokenizer(["a good film", "a bad film"] * 9, 300)
    >>> config = TextConfig(architecture="text-cnn", tokens=tokenizer.get_vocab_size(), classes=["bad", "good"])
    >>> classifier = build(config, tokenizer, seed=0)
    >>> classifier(classifier.tokens(["a film", "so bad a film"])).shape
    torch.Size([2, 2])
    """
    kind, width = NETWORKS[config.architecture]
    sizes = (config.tokens, config.width or width, len(config.classes), config.longest)
    return OwnTextClassifier(config, built_with_seed(seed, lambda: kind(*sizes)), tokenizer).eval()


def open_text_classifier(folder: Path) -> Classifier:
    """The classifier of a folder.

    Raises:
        ArtifactError: it is none, or its weights or its tokenizer do not fit its configuration.
    """
    _, config = read_config(folder)
    if ARCHITECTURE not in config:
        from bdm_kit_classification.models.transformers_text import open_transformers_text

        return open_transformers_text(folder)
    try:
        own = TextConfig.model_validate(config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ArtifactError(f"{folder / CONFIG}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # the library raises bare exceptions
        raise ArtifactError(f"{folder / TOKENIZER} cannot be read: {first_line(error)}") from None
    require_ids(folder, tokenizer.get_vocab(), own.tokens)
    if tokenizer.get_vocab_size() < own.tokens:
        raise ArtifactError(
            f"{folder / TOKENIZER} has {tokenizer.get_vocab_size()} tokens, the model {own.tokens}: it is the "
            "tokenizer of another model; put back its own"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    kind, width = NETWORKS[own.architecture]
    sizes = (own.tokens, own.width or width, len(own.classes), own.longest)
    require_room(folder, STEM, lambda: kind(*sizes))
    network = kind(*sizes)
    load_weights(network, folder, STEM)
    return OwnTextClassifier(own, network, tokenizer).eval()
