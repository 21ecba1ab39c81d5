"""What the kit ships; the README in each folder says how it was made and how good it is."""

from pathlib import Path

BUILTIN = Path(__file__).parent
"""The folder of these folders."""
