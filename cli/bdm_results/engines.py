"""The libraries of the extra ``results``, imported when needed, or named in one line where they are missing."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from bdm_core.errors import UserError


def engine(module: str) -> Any:
    """Import a module of the extra ``results``.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"this needs {module.partition('.')[0]} ({error}): pip install 'bdm[results]'") from None


def installed(*modules: str) -> bool:
    """Whether modules of the extra ``results`` are all there, without importing them."""
    return all(find_spec(module) is not None for module in modules)
