"""Which library is a paragraph of documentation of? Real English out of packages that are installed anyway.

Docstrings are read from source files; nothing is imported. What comes out depends on the installed versions: the
fingerprint says which rows these are. Light: no torch.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import platform
import random
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

CLASSES = ["scipy", "torch", "python"]
SEED = 20241101
A_CLASS, FROM_A_FILE = 2600, 40
"""Paragraphs of a class, and at most so many of one source file."""
PARTS = (2000, 200, 400)
"""Of each class for training, reserve and test."""
LEFT_OUT = {
    "tests",
    "test",
    "testing",
    "__pycache__",
    "site-packages",
    "dist-packages",
    "idlelib",
    "lib2to3",
    "_vendor",
}
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
CODE = re.compile(r"\s*(>>>|\.\.|[-=~^]{3,}|[|+:@])")
TELLING = re.compile(
    r"numpy|scipy|torch|python|tensor|ndarray|array_like|cuda|autograd|sklearn|estimator|module|matlab|fortran|pep \d",
    re.IGNORECASE,
)
"""What would give the library away."""
FEWEST, MOST = 8, 60
"""Words of a paragraph."""


def read_paragraphs() -> tuple[dict[str, list[str]], str]:
    """The paragraphs of each class in an order of their own, and their fingerprint: a hash of them and the versions.

    >>> prose = "Returns the largest value that was seen so far, or nothing if none was."
    >>> list(paragraphs_of(f"Short.\\n\\n{prose}\\n\\n>>> largest()"))
    ['Returns the largest value that was seen so far, or nothing if none was.']
    """
    found = {name: _of_library(name) for name in CLASSES}
    for name, texts in found.items():
        random.Random(f"{SEED}/{name}").shuffle(texts)
    digest = hashlib.sha256("\n".join(text for texts in found.values() for text in texts).encode()).hexdigest()[:12]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in CLASSES[:2]]
    return found, f"{digest} ({', '.join([*versions, f'python {platform.python_version()}'])})"


def paragraphs_of(docstring: str) -> Iterator[str]:
    """Those paragraphs of a docstring that are prose and do not name a library."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        text = " ".join(paragraph.split())
        words = text.split(" ")
        if not FEWEST <= len(words) <= MOST or not text[0].isupper() or TELLING.search(text):
            continue
        if any(CODE.match(line) for line in paragraph.strip().splitlines()):
            continue
        prose = sum(WORD.fullmatch(word.strip(".,;:()\"'!?")) is not None for word in words)
        if prose >= 0.8 * len(words):
            yield text


def _of_library(name: str) -> list[str]:
    root = _root_of(name)
    files = [path for path in root.rglob("*.py") if not LEFT_OUT & set(path.relative_to(root).parts[:-1])]
    files.sort(key=lambda path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest())
    found: dict[str, str] = {}
    for path in files:
        new: dict[str, str] = {}
        for docstring in _docstrings(path):
            for text in paragraphs_of(docstring):
                key = re.sub(r"\W+", " ", text.lower())
                if key not in found:
                    new[key] = text
        found |= dict(list(new.items())[:FROM_A_FILE])
        if len(found) >= A_CLASS:
            break
    return list(found.values())[:A_CLASS]


def _root_of(name: str) -> Path:
    if name == "python":
        return Path(sysconfig.get_paths()["stdlib"])
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, name
    return Path(spec.origin).parent


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring
