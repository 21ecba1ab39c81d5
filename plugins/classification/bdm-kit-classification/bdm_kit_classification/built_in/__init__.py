"""The built-in models, as folders."""

from pathlib import Path

BUILTIN = Path(__file__).parent
