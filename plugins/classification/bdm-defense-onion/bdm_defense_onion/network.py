"""The surprise of texts without each of their words, by a causal language model of transformers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import existing
from bdm_defense_onion.params import OnionParams
from bdm_kit_classification.texts.words import join_words
from bdm_torch.foreign_models import find_weights, first_line, open_network

LONGEST = 512
NONE = -100
"""The label of a place that does not count."""


def require_language_model(name: str) -> Path:
    """The folder of a language model, before it is needed; its files' headers are read and nothing is opened.

    Raises:
        UserError: there is no such folder, or transformers is not installed.
        ArtifactError: it has no sound weights.
    """
    folder: Path | None = existing(name)
    if folder is None or not folder.is_dir():
        raise UserError(f"language_model {name} is no folder: give one, or leave it empty")
    if importlib.util.find_spec("transformers") is None:
        raise UserError("a language model needs transformers: pip install 'bdm-defense-onion[transformers]'")
    find_weights(folder, "model")
    return folder


def open_judge(params: OnionParams, device: str) -> Callable[[list[str]], list[float]]:
    """How much each word of a text adds to its surprise, by a model folder with its tokenizer.

    Raises:
        UserError: there is no such folder, or transformers is not installed.
        ArtifactError: it holds no such model, or no tokenizer.
    """
    folder = require_language_model(params.language_model)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = open_network(AutoModelForCausalLM, folder, "model").float().to(device).eval()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever the library makes of an odd folder
        raise ArtifactError(f"{folder} has no tokenizer that can be opened: {first_line(error)}") from None

    def judge(words: list[str]) -> list[float]:
        texts = [join_words(words)] + [join_words(words[:at] + words[at + 1 :]) for at in range(len(words))]
        found: list[float] = []
        for start in range(0, len(texts), params.batch_size):
            lists = [tokenizer(text)["input_ids"][:LONGEST] for text in texts[start : start + params.batch_size]]
            found += surprises(network, lists, device)
        return [len(words) * (found[0] - other) for other in found[1:]]

    return judge


def surprises(network: Any, lists: list[list[int]], device: str) -> list[float]:
    """The mean of minus the logarithm of each token's probability but the first's, in nats; 0 for a single token."""
    longest = max(2, *map(len, lists))
    tokens = torch.zeros(len(lists), longest, dtype=torch.int64)
    shown = torch.zeros_like(tokens)
    for row, entry in enumerate(lists):
        tokens[row, : len(entry)] = torch.tensor(entry, dtype=torch.int64)
        shown[row, : len(entry)] = 1
    with torch.inference_mode():
        logits = network(input_ids=tokens.to(device), attention_mask=shown.to(device)).logits.cpu()
    wanted = tokens[:, 1:].masked_fill(shown[:, 1:] == 0, NONE)
    costs = functional.cross_entropy(logits[:, :-1].transpose(1, 2), wanted, ignore_index=NONE, reduction="none")
    means: list[float] = (costs.sum(1) / shown[:, 1:].sum(1).clamp_min(1)).tolist()
    return means
