"""Labelled texts from files: JSON lines, CSV and TSV with or without a head, and folders of .txt files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from bdm_core.errors import UserError
from bdm_core.files import parse_json
from bdm_kit_classification.data.class_names import by_number
from bdm_kit_classification.data.parts import Parts
from bdm_kit_classification.data.text_rows import Texts, labelled_texts
from bdm_kit_classification.tasks.text import TABLES
from bdm_kit_classification.texts.words import canonical
from bdm_torch.data_folders import entries, subfolders

TRAINING, TEST = ("train", "training"), ("test", "dev", "validation", "valid", "val")
TEXT, LABEL = ("text", "sentence", "content", "review", "description"), ("label", "class", "category", "sentiment")
"""Columns by name, the first that is there."""
LONGEST_TABLE = 2**31
Rows = list[tuple[str, str]]


def read_text_files(path: Path, kind: str) -> Parts:
    """Texts of a file, or of a folder with ``train`` and perhaps ``test``.

    Tables have a head with a column of texts (``text``, ``sentence``, ``content``; ``title`` is put before it) and one
    of labels (``label``, ``class``). A CSV file without a head is one of the kind of AG News and DBpedia: a number from
    1, a title, a text; ``classes.txt`` beside it names the classes. In a folder ``train/pos/1.txt`` of the kind of IMDB
    sub-folders are classes.

    Raises:
        UserError: a file is damaged, or has no texts or no labels.
    """
    if kind == "classes":
        parts = {part.name: _folder(part) for part in subfolders(path)}
    elif path.is_file():
        parts = {"train": _table(path)}
    else:
        parts = {file.stem.lower(): _table(file) for file in _tables(path)}
    training = next((parts[name] for name in TRAINING if name in parts), next(iter(parts.values())))
    test = next((parts[name] for name in TEST if name in parts and parts[name] is not training), None)
    names = sorted({label for _, label in training}, key=by_number)
    if len(names) < 2:
        raise UserError(f"{path} has texts of {len(names)} classes: expected two or more")
    numbers = {name: number for number, name in enumerate(names)}
    tested: Texts | None = None
    if test is not None:
        odd = next((label for _, label in test if label not in numbers), None)
        if odd is not None:
            raise UserError(f"{path}: the test has a class {odd!r}, which no training text has")
        tested = [text for text, _ in test], torch.tensor([numbers[label] for _, label in test])
    texts, labels = [text for text, _ in training], [numbers[label] for _, label in training]
    return labelled_texts(texts, labels, _shown(path, names), tested)


def _tables(folder: Path) -> list[Path]:
    """The files of a folder; one alone may have any name, of several none may be left out in silence."""
    files = [file for file in entries(folder) if file.suffix.lower() in TABLES and file.is_file()]
    names = [file.stem.lower() for file in files]
    if len(files) > 1 and (len(set(names)) < len(names) or not set(names) & set(TRAINING)):
        raise UserError(
            f"{folder} holds {', '.join(file.name for file in files[:5])}: expected one file of texts, or one named "
            f"{TRAINING[0]} and one named {TEST[0]}; name the file that you mean"
        )
    return files


def _shown(path: Path, names: Sequence[str]) -> list[str]:
    """Names of the classes: those of ``classes.txt`` where labels count from 1 or 0."""
    listed = (path if path.is_dir() else path.parent) / "classes.txt"
    if not listed.is_file() or not all(name.isdecimal() and len(name) < 20 for name in names):
        return list(names)
    lines = [line.strip() for line in _read(listed).splitlines() if line.strip()]
    first = int(names[0])
    if len(lines) != len(names) or first not in (0, 1):
        raise UserError(f"{listed} names {len(lines)} classes, the texts have {len(names)}")
    if len(set(lines)) < len(lines):
        raise UserError(f"{listed} names the class {max(lines, key=lines.count)!r} twice")
    return lines


def _folder(folder: Path) -> Rows:
    rows: Rows = []
    for kind in (path for path in subfolders(folder) if path.name != "unsup"):
        files = [path for path in entries(kind) if path.suffix == ".txt" and path.is_file()]
        if not files:
            raise UserError(f"{kind} holds no .txt files: every class needs some")
        rows += [(_filled(file), kind.name) for file in files]
    if not rows:
        raise UserError(f"{folder} holds no texts: expected a sub-folder for each class")
    return rows


def _filled(path: Path) -> str:
    text = _read(path)
    if not text.strip():
        raise UserError(f"{path} is empty: every text needs a word; write one, or remove the file")
    return text


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LONGEST_TABLE:
            raise UserError(f"{path} is too large: {path.stat().st_size} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error}): save it in UTF-8") from None
    if "\0" in text:
        raise UserError(f"{path} holds NUL characters, as text in UTF-16 does: save it in UTF-8")
    return text


def _table(path: Path) -> Rows:
    text = _read(path)
    if path.suffix.lower() == ".jsonl":
        return [_row(entry, path, line) for line, entry in _objects(text, path)]
    tabs = path.suffix.lower() == ".tsv"
    options: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
    try:
        csv.field_size_limit(LONGEST_TABLE - 1)
        reader = csv.reader(io.StringIO(text, newline=""), **options)  # other line ends are part of a text
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; quotes within a text are doubled") from None
    if not lines:
        raise UserError(f"{path} is empty")
    head = [cell.strip().lower() for cell in lines[0][1]]
    if set(head) & set(TEXT) and set(head) & set(LABEL):
        return [_row(_named(head, cells, path, line), path, line) for line, cells in lines[1:]]
    return [_numbered(cells, path, line) for line, cells in lines]


def _named(head: list[str], cells: list[str], path: Path, line: int) -> dict[str, str]:
    """Cells by the names in the head."""
    if len(cells) > len(head):
        raise UserError(
            f"{path}, line {line} has {len(cells)} cells, its head {len(head)}: a text with the delimiter in it is to "
            "be put in quotes (in TSV: remove it)"
        )
    used = [name for name in head if name in (*TEXT, *LABEL, "title")]
    if len(set(used)) < len(used):
        raise UserError(f"{path} has two columns of the name {max(used, key=used.count)}: rename one")
    return dict(zip(head, cells, strict=False))


def _objects(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                entry = parse_json(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}: no JSON: {error}") from None
            if not isinstance(entry, dict):
                raise UserError(f"{path}, line {number}: expected an object with a text and a label")
            yield number, entry


def _row(entry: dict[str, Any], path: Path, line: int) -> tuple[str, str]:
    text = next((entry[key] for key in TEXT if isinstance(entry.get(key), str)), None)
    label = next((entry[key] for key in LABEL if isinstance(entry.get(key), str | int)), None)
    if text is None or label is None or not str(text).strip() or not str(label).strip():
        raise UserError(f"{path}, line {line}: expected a text ({', '.join(TEXT)}) and a label ({', '.join(LABEL)})")
    title, name = entry.get("title"), canonical(str(label))
    if not name.isprintable():
        raise UserError(f"{path}, line {line}: the label {name[:80]!r} has characters that cannot be shown: rename it")
    return (f"{title} {text}" if isinstance(title, str) and title.strip() else str(text)), name


def _numbered(line: list[str], path: Path, row: int) -> tuple[str, str]:
    if len(line) < 2 or not line[0].strip().isdecimal() or not any(cell.strip() for cell in line[1:]):
        raise UserError(
            f"{path}, line {row}: expected a head with text and label, or a class number and texts; remove a test part "
            "that has no labels"
        )
    return " ".join(cell.strip() for cell in line[1:] if cell.strip()), line[0].strip()
