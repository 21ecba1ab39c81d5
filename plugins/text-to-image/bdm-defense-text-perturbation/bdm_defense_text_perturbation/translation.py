"""Translation there and back: by a program, by a model in a local folder, or by a language model behind an endpoint."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from pydantic import BaseModel, Field

from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_defense_text_perturbation.params import TextPerturbationParams
from bdm_language_model.asking import LanguageModel, Unanswered
from bdm_language_model.endpoint import require_endpoint
from bdm_language_model.requests import Request, quoted

Translate = Callable[[Sequence[str]], list[str]]
"""N texts -> N texts."""
MOST_TOKENS = 256
LONGEST = 2000
LARGEST_ANSWER = 2**20
"""Bytes that a program may write for one text."""
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
            raise _no_model(text)
        return ByLanguageModel(model, language)
    place = existing(text)
    if place is not None and place.is_dir():
        return local_model(place)
    return program(words_of(text), timeout)


def require_translator(text: str, params: TextPerturbationParams) -> None:
    """Refuse a translator that is not to be had, before anything is computed; a folder's model is not opened.

    Raises:
        UserError: as :func:`translator` does.
    """
    if language_of(text) is not None:
        if not params.model:
            raise _no_model(text)
        require_endpoint(params, "defense:text-perturbation")
        return
    place = existing(text)
    if place is None or not place.is_dir():
        words_of(text)


def words_of(text: str) -> list[str]:
    """A program with its arguments, as a shell would split them. Raises UserError if there is no such program."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"text-perturbation cannot read the translator {text!r}: {str(error).lower()}") from None
    if not words or shutil.which(words[0]) is None:
        raise UserError(
            f"text-perturbation finds no translator {text!r}: name an installed program (Debian: apertium), a folder "
            "with a translation model, or `model LANGUAGE` for the language model that `model` and `base_url` name"
        )
    return words


def language_of(text: str) -> str | None:
    """The language of ``model LANGUAGE``; None for another translator.

    >>> language_of("model Brazilian Portuguese"), language_of("apertium eng-spa")
    ('Brazilian Portuguese', None)
    """
    first, _, language = text.strip().partition(" ")
    return language.strip() if first == ENDPOINT and language.strip() else None


def program(words: Sequence[str], timeout: float) -> Translate:
    """A program that reads a text and writes its translation, both UTF-8; started once for each text.

    The translator raises UserError if the program fails, takes longer than ``timeout`` seconds, or writes nothing, too
    much or no text: prompts that went through unchanged would be taken for translated ones.
    """
    name = shlex.join(words)

    def translate(text: str) -> str:
        code, found, complaint = _run(words, text, timeout, name)
        if code:
            reason = (complaint.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"the translator {name} failed: {reason[:200]}")
        try:
            made = found.decode().strip()
        except UnicodeDecodeError:
            raise UserError(f"the translator {name} writes no UTF-8: set its encoding") from None
        if not made and any(map(str.isalnum, text)):
            raise UserError(f"the translator {name} wrote nothing for the prompt {text[:60]!r}: try it by hand")
        return made.replace("*", "")  # apertium marks unknown words so

    return lambda texts: [translate(text) for text in texts]


def _run(words: Sequence[str], text: str, timeout: float, name: str) -> tuple[int, bytes, bytes]:
    """Exit status, output and complaints of a program, which is ended with all that it started.

    Raises:
        UserError: it cannot be started, takes too long or writes too much.
    """
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
    except OSError as error:
        raise UserError(f"the translator {name} cannot be started: {error.strerror}") from None
    held: list[bytes] = [b"", b""]
    streams = (process.stdout, process.stderr)
    workers = [
        threading.Thread(target=_read, args=(held, row, stream), daemon=True) for row, stream in enumerate(streams)
    ]
    workers.append(threading.Thread(target=_write, args=(process.stdin, text), daemon=True))
    for worker in workers:
        worker.start()
    late = False
    try:
        workers[0].join(timeout)
        late = workers[0].is_alive()
        if not late and len(held[0]) <= LARGEST_ANSWER:
            process.wait(timeout)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        for worker in workers:
            worker.join(1)
    if late:
        raise UserError(f"the translator {name} took longer than {timeout:g} s for a prompt: end it, or raise timeout")
    if len(held[0]) > LARGEST_ANSWER:
        raise UserError(f"the translator {name} wrote more than {LARGEST_ANSWER >> 20} MiB for a prompt")
    return code, held[0], held[1]


def _read(held: list[bytes], row: int, stream: IO[bytes]) -> None:
    with stream:
        held[row] = stream.read(LARGEST_ANSWER + 1)


def _write(stream: IO[bytes], text: str) -> None:
    with suppress(OSError), stream:  # a program need not read
        stream.write(text.encode(errors="replace"))


def _no_model(text: str) -> UserError:
    return UserError(
        f"text-perturbation: {text!r} asks a language model: set defense:text-perturbation.model, and base_url"
    )


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
