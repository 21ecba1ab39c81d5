"""Translation there and back: by a program, by a model in a local folder, or by a language model behind an endpoint."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, Field

from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_language_model.asking import LanguageModel, Unanswered
from bdm_language_model.requests import Request, quoted

Translate = Callable[[Sequence[str]], list[str]]
"""N texts -> N texts."""
MOST_TOKENS = 256
LONGEST = 2000
ENDPOINT = "model"
"""The first word of a translator that is a language model behind the endpoint."""


class Translation(BaseModel):
    """A language model's answer."""

    text: str = Field(min_length=1, max_length=LONGEST)


class ByLanguageModel:
    """A language model that is asked for translations.

    Args:
        model: behind the endpoint.
        language: into which.

    Attributes:
        left: how many texts it left as they are, because it refused or answered in another form.
    """

    def __init__(self, model: LanguageModel, language: str) -> None:
        self.left = 0
        self._model = model
        self._task = f"Translate the text in JSON quotes into {language}."

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """The translations. Raises UserError as :meth:`LanguageModel.ask_all` does."""
        requests = [Request(self._task, [f"Text: {quoted(text)}"]) for text in texts]
        answers = self._model.ask_all(requests, Translation, noun="prompts")
        self.left += sum(isinstance(answer, Unanswered) for answer in answers)
        return [
            text if isinstance(answer, Unanswered) else " ".join(answer.text.split()) or text
            for text, answer in zip(texts, answers, strict=True)
        ]


def translator(text: str, timeout: float, model: LanguageModel | None = None) -> Translate:
    """A translator by what names it: ``model LANGUAGE``, a folder, or a program with its arguments.

    Args:
        text: the name.
        timeout: seconds that a program has for one text.
        model: what is asked for ``model LANGUAGE``.

    Raises:
        UserError: there is no such folder or program, or no model is named.
    """
    language = language_of(text)
    if language is not None:
        if model is None or not model.params.model:
            raise UserError(
                f"text-perturbation: {text!r} asks a language model: set defense:text-perturbation.model, and base_url"
            )
        return ByLanguageModel(model, language)
    place = existing(text)
    if place is not None and place.is_dir():
        return local_model(place)
    words = shlex.split(text)
    if not words or shutil.which(words[0]) is None:
        raise UserError(
            f"text-perturbation finds no translator {text!r}: name an installed program (Debian: apertium), a folder "
            "with a translation model, or `model LANGUAGE` for the language model that `model` and `base_url` name"
        )
    return program(words, timeout)


def language_of(text: str) -> str | None:
    """The language of ``model LANGUAGE``; None for another translator.

    >>> language_of("model Brazilian Portuguese"), language_of("apertium eng-spa")
    ('Brazilian Portuguese', None)
    """
    first, _, language = text.strip().partition(" ")
    return language.strip() if first == ENDPOINT and language.strip() else None


def program(words: Sequence[str], timeout: float) -> Translate:
    """A program that reads a text and writes its translation; started once for each text."""

    def translate(text: str) -> str:
        try:
            done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=timeout, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UserError(f"the translator {words[0]} failed: {error}") from None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"the translator {' '.join(words)} failed: {reason}")
        return done.stdout.strip().replace("*", "")  # apertium marks unknown words so

    return lambda texts: [translate(text) for text in texts]


def local_model(folder: Path) -> Translate:
    """A translation model in transformers' format: safetensors only, no code of the folder runs.

    Raises:
        UserError: the folder holds none.
    """
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        options = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        model = AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True, **options).eval()
    except Exception as error:  # transformers has errors of all kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{folder} holds no translation model that opens: {reason[0]}") from None

    def translate(text: str) -> str:
        given = tokenizer([text], return_tensors="pt", truncation=True)
        found = model.generate(**given, max_new_tokens=MOST_TOKENS, do_sample=False)
        return str(tokenizer.batch_decode(found, skip_special_tokens=True)[0]).strip()

    return lambda texts: [translate(text) for text in texts]
