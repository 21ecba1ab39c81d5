"""What the kit's own commands share."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from pydantic import ValidationError

from bdm_core.artifacts import first_line
from bdm_core.errors import BdmError


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
