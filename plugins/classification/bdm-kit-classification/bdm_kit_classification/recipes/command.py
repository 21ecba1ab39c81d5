"""What the kit's own commands share."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from bdm_core.artifacts import Model, first_line
from bdm_core.errors import BdmError, UserError
from bdm_kit_classification.data.sources import Source


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """While this is open, an expected error ends the program with one line on standard error and its exit code."""
    try:
        yield
    except BdmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (ValidationError, OSError) as error:
        print(f"error: {first_line(error)}", file=sys.stderr)
        sys.exit(2)


def require_new(out: Path) -> None:
    """Refuse a folder for the model that has something in it, by a UserError: nothing of it may be lost."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty: choose another --out")


def keep_model(model: Model, out: Path) -> None:
    """Move the files of a model, without its manifest, into the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    for name in model.files:
        shutil.move(model.path / name, out / name)


def remembered(source: Source) -> str:
    """What a model notes as the data it was trained on: a path that holds from everywhere, or a name."""
    return source.name if source.folder is None else str(source.folder.resolve())
