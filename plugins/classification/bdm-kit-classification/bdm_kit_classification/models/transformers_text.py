"""Classifiers of texts of the library transformers: BERT, RoBERTa, DistilBERT, GPT-2, ..."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from bdm_core.errors import ArtifactError, UserError
from bdm_kit_classification.models.classifier import PrunableLayer
from bdm_kit_classification.models.foreign_classifier import layers_in_order
from bdm_kit_classification.models.text_classifier import TextClassifier, mean_over
from bdm_kit_classification.models.transformers_classifier import head_of
from bdm_torch.draws import built_with_seed
from bdm_torch.foreign_models import first_line, only_errors, open_network, require_ids

LONGEST, SHORTEST = 512, 4
"""Tokens of the longest text, unless the model takes fewer; and how many it must take."""


class TransformersText(TextClassifier):
    """An ``AutoModelForSequenceClassification`` with the tokenizer of its folder.

    The network is given vectors and a mask, so that gradients reach the embeddings. A head that judges every token, as
    GPT-2's, counts for the last one of the text.

    Args:
        network: of transformers.
        tokenizer: of transformers; written again as it was.
    """

    suited = ("adamw", 0.001)

    def __init__(self, network: Any, tokenizer: Any) -> None:
        super().__init__()
        self.network, self.tokenizer = network, tokenizer
        named = network.config.id2label
        self.classes = [str(named[index]) for index in sorted(named)]
        self.trained_on = ""
        places = int(getattr(network.config, "max_position_embeddings", LONGEST))
        places -= 2 if network.config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
        self.longest = min(places, LONGEST, int(tokenizer.model_max_length))
        if self.longest < SHORTEST:
            raise ValueError(f"it takes {self.longest} tokens, by max_position_embeddings and model_max_length")
        self._head_name = head_of(network)
        self._judges_each_token = self._head_name == "score"

    def token_lists(self, texts: list[str]) -> list[list[int]]:
        """As the folder's tokenizer has them, with its special tokens."""
        found = self.tokenizer(texts, truncation=True, max_length=self.longest)["input_ids"] if texts else []
        return [list(entry) or [0] for entry in found]

    def token_of(self, word: str) -> int | None:
        """As of every classifier of texts; the token of all unknown words stands for none."""
        found = super().token_of(word)
        return None if found == self.tokenizer.unk_token_id else found

    @property
    def embedding(self) -> nn.Embedding:
        """The table of embeddings."""
        return cast(nn.Embedding, self.network.get_input_embeddings())

    def embedded_features(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """What the head sees, (N, F)."""
        if self._judges_each_token:
            hidden: Tensor = self.network.base_model(
                inputs_embeds=vectors, attention_mask=mask.long()
            ).last_hidden_state
            return hidden[torch.arange(len(hidden), device=hidden.device), mask.long().cumsum(1).argmax(1)]
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        try:
            self.network(inputs_embeds=vectors, attention_mask=mask.long())
        finally:
            hook.remove()
        return seen[0].flatten(1)

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The hidden states of all layers but the embedding."""
        mask = inputs >= 0
        found = self.network.base_model(
            inputs_embeds=self.embed(inputs), attention_mask=mask.long(), output_hidden_states=True
        )
        return [mean_over(mask, hidden) for hidden in found.hidden_states[1:]]

    @property
    def head(self) -> nn.Linear:
        """The last linear map."""
        return cast(nn.Linear, self.network.get_submodule(self._head_name))

    def prunable_layers(self) -> list[PrunableLayer]:
        """Linear maps but for the head, in the order in which they run; GPT-2 has none."""
        return layers_in_order(self, torch.zeros(1, 2, dtype=torch.int64, device=self.device))

    def fresh(self, seed: int) -> TransformersText:
        """The same architecture and tokenizer with new weights."""
        network = built_with_seed(seed, lambda: type(self.network)(self.network.config))
        return TransformersText(network, self.tokenizer).eval()

    def write(self, folder: Path) -> None:
        """As ``save_pretrained`` does."""
        with only_errors("transformers"):
            self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def facts(self) -> dict[str, object]:
        """Classes."""
        return {"shape": [], "classes": self.classes, "trained_on": self.trained_on}


def open_transformers_text(folder: Path) -> TransformersText:
    """The classifier of a ``save_pretrained`` folder with its tokenizer.

    Raises:
        UserError: transformers is not installed.
        ArtifactError: its weights do not fit its configuration, it has no linear head, or no tokenizer that fits.
    """
    try:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError:
        raise UserError(f"{folder} needs transformers: pip install 'bdm-kit-classification[transformers]'") from None
    network = open_network(AutoModelForSequenceClassification, folder, "model").float()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        words = tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens)
    except Exception as error:  # whatever the library makes of an odd folder
        raise ArtifactError(f"{folder} has no tokenizer that can be opened: {first_line(error)}") from None
    if not words:  # of a folder without one the library makes a tokenizer that knows no word
        raise ArtifactError(f"{folder} has no tokenizer: its vocabulary is missing or empty")
    require_ids(folder, tokenizer.get_vocab(), network.get_input_embeddings().num_embeddings)
    try:
        return TransformersText(network, tokenizer).eval()
    except (ValueError, TypeError, OverflowError) as error:
        raise ArtifactError(f"{folder} is no text classifier that can be used: {first_line(error)}") from None
