"""Paraphrases of texts by a model: a local folder, or one behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, Field

from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import existing
from bdm_torch.foreign_models import first_line, open_network

if TYPE_CHECKING:
    from bdm_kit_classification.texts.paraphrase_params import ParaphraseParams


AT_ONCE = 32
LONGEST_TEXT = 512
"""Tokens of a text that a model folder reads."""
NEEDED = "pip install 'bdm-kit-classification[{}]'"


class Paraphrase(BaseModel):
    """What a model behind an endpoint answers.

    Attributes:
        text: in other words.
    """

    text: str = Field(min_length=1, max_length=10_000)


def paraphraser_of(params: ParaphraseParams, instruction: str) -> dict[str, Any]:
    """Who paraphrases as plain JSON, which a trigger can keep; {} for nobody.

    Args:
        params: who, and how.
        instruction: taken where the parameters have none.

    Raises:
        UserError: a folder and an endpoint are named, or the folder is none.
    """
    if params.paraphraser and params.endpoint_model:
        raise UserError("paraphraser and endpoint_model both say who paraphrases: give one of them")
    told = {"instruction": params.instruction or instruction}
    if params.paraphraser:
        folder = existing(params.paraphraser)
        if folder is None or not folder.is_dir():
            raise UserError(f"paraphraser {params.paraphraser} is no folder: give that of a model of transformers")
        return {**told, "folder": str(Path(folder).resolve()), "longest": params.longest}
    if params.endpoint_model:
        asked = {"model": params.endpoint_model, "base_url": params.endpoint_url}
        return {**told, "endpoint": {**asked, "api_key_env": params.endpoint_key_variable}}
    return {}


def paraphrased(texts: Sequence[str], who: Mapping[str, Any]) -> list[str | None]:
    """The paraphrase of each text; None where there is none, or it is empty or the text itself, which is warned of.

    Args:
        texts: any number.
        who: see :func:`paraphraser_of`, not {}.

    Raises:
        UserError: the model cannot be asked, or what it needs is not installed.
        ArtifactError: the folder holds no such model.
    """
    answers = _by_folder(texts, who) if "folder" in who else _by_endpoint(texts, who)
    found: list[str | None] = [
        answer if answer and answer.split() != text.split() else None
        for answer, text in zip(answers, texts, strict=True)
    ]
    missing = found.count(None)
    if missing:
        logging.getLogger("bdm").warning("%d of %d texts were not paraphrased: rules wrote them", missing, len(texts))
    return found


def _by_folder(texts: Sequence[str], who: Mapping[str, Any]) -> list[str]:
    """By beam search over four beams: always the same."""
    tokenizer, network = _opened(str(who["folder"]))
    found: list[str] = []
    for start in range(0, len(texts), AT_ONCE):
        given = [f"{who['instruction']} {text}".strip() for text in texts[start : start + AT_ONCE]]
        inputs = tokenizer(given, return_tensors="pt", padding=True, truncation=True, max_length=LONGEST_TEXT)
        kept = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            tokens = network.generate(**kept, num_beams=4, do_sample=False, max_new_tokens=int(who["longest"]))
        found += [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]
    return found


@functools.lru_cache(maxsize=1)
def _opened(folder: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
    except ImportError:
        raise UserError(f"a paraphraser needs transformers: {NEEDED.format('transformers')}") from None
    network = open_network(AutoModelForSeq2SeqLM, Path(folder), "model").float().eval()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever the library makes of an odd folder
        raise ArtifactError(f"{folder} has no tokenizer that can be opened: {first_line(error)}") from None
    return tokenizer, network


def _by_endpoint(texts: Sequence[str], who: Mapping[str, Any]) -> list[str | None]:
    """By a model that is asked for each text; its answers are kept, so that the same are given again."""
    try:
        from bdm_language_model.asking import LanguageModel, Unanswered
        from bdm_language_model.params import EndpointParams
        from bdm_language_model.requests import Request, quoted
    except ImportError:
        raise UserError(f"an endpoint needs bdm-language-model: {NEEDED.format('language-model')}") from None
    requests = [Request(str(who["instruction"]), [f"Text: {quoted(text)}"]) for text in texts]
    with LanguageModel(EndpointParams(**who["endpoint"])) as model:
        answers = model.ask_all(requests, Paraphrase, noun="texts")
    return [None if isinstance(answer, Unanswered) else answer.text.strip() for answer in answers]
