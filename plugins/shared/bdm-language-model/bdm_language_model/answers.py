"""The answers that are kept: one small JSON file each, so that nothing is asked, or paid for, twice."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bdm_core.errors import UserError

VERSION = 1
LARGEST_FILE = 2**20
Answer = TypeVar("Answer", bound=BaseModel)


class AnswerCache:
    """A folder of answers by the key of their request. Several processes may share it.

    A file holds the answer, the model and the tokens; neither the request nor anything of the endpoint's key. A file
    that is broken, or holds no answer of the class that is asked for, counts as none and is written again.

    Args:
        folder: where; None for ``bdm/language-model`` in the user's cache.

    Raises:
        UserError: the folder cannot be made.

    >>> class Found(BaseModel):
    ...     yes: bool
    >>> cache = AnswerCache(Path("answers"))
    >>> cache.put("0" * 64, Found(yes=True), model="a-model", tokens=12)
    >>> cache.get("0" * 64, Found), cache.get("1" * 64, Found)
    (Found(yes=True), None)
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or default_folder()).expanduser()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None

    def get(self, key: str, answer: type[Answer], context: Mapping[str, Any] | None = None) -> Answer | None:
        """The kept answer to a request, checked again, or None."""
        path = self._path(key)
        try:
            if not path.is_file() or path.stat().st_size > LARGEST_FILE:
                return None
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["schema_version"] != VERSION or record["key"] != key:
                return None
            return answer.model_validate_json(json.dumps(record["answer"]), context=dict(context or {}))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError):
            return None

    def put(self, key: str, answer: BaseModel, *, model: str, tokens: int) -> None:
        """Keep an answer: the file appears as a whole or not at all.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        record = {
            "schema_version": VERSION,
            "key": key,
            "model": model,
            "tokens": tokens,
            "answer": answer.model_dump(mode="json"),
        }
        path = self._path(key)
        draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            raise self._unusable(error) from None
        finally:
            draft.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _unusable(self, error: OSError) -> UserError:
        reason = error.strerror or type(error).__name__
        return UserError(f"answers cannot be kept in {self.folder} ({reason}): name another folder with `cache`")


def default_folder() -> Path:
    """Where answers are kept unless a parameter says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "bdm" / "language-model"
