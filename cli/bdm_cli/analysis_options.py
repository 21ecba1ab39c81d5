"""The options by which ``bdm results`` and ``bdm plot`` choose numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdm_cli.options import Common

if TYPE_CHECKING:
    from bdm_results.results import Selection


class Format(StrEnum):
    """How results are given."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"
    latex = "latex"
    markdown = "markdown"


SUFFIXES = {
    ".csv": Format.csv,
    ".json": Format.json,
    ".parquet": Format.parquet,
    ".tex": Format.latex,
    ".md": Format.markdown,
    ".txt": Format.table,
}
"""What a file of results holds, by its name."""


def format_of(given: Format | None, file: Path | None) -> Format:
    """The format that was asked for, by name or by the file's suffix; a table by default.

    Raises:
        UserError: the name and the suffix disagree, or the suffix alone is to say it and does not.
    """
    from bdm_core.errors import UserError

    suffix = "" if file is None else file.suffix.lower()
    named = SUFFIXES.get(suffix)
    if given is None and suffix not in ("", *SUFFIXES):
        known = ", ".join(SUFFIXES)
        raise UserError(f"--output {file}: {suffix} says no format; suffixes are {known}, or give --format NAME")
    if None not in (given, named) and given is not named:
        raise UserError(f"--output {file} is a file for {named}, and --format says {given}: leave one of them out")
    return given or named or Format.table


@dataclass(frozen=True, kw_only=True)
class Choosing(Common):
    """What ``bdm results`` and ``bdm plot`` share."""

    folder: Annotated[Path, typer.Argument(help="Folder that bdm run --out wrote to, or one run's.", metavar="DIR")]
    where: Annotated[
        str | None,
        typer.Option(help="Only runs and numbers that fit, e.g. \"attack = 'villan' AND seed < 3\".", metavar="EXPR"),
    ] = None
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric's name or its end, its label, attack-success or utility. Repeatable.", metavar="M"),
    ] = None
    row: Annotated[
        list[str] | None,
        typer.Option(help="A row: clean, backdoored, ...; final: as the defense leaves the model.", metavar="ROW"),
    ] = None
    confidence: Annotated[float | None, typer.Option(help="Of intervals and tests (default 0.95).", metavar="P")] = None

    def selects(self) -> bool:
        """Whether an option is given that only the index can answer."""
        return any(value is not None and value != [] for value in (self.where, self.metric, self.row, self.confidence))

    def selection(self) -> Selection:
        """The options as the library takes them."""
        from bdm_results.intervals import CONFIDENCE
        from bdm_results.results import Selection

        return Selection(
            where=self.where or "",
            metrics=tuple(self.metric or ()),
            rows=tuple(self.row or ()),
            confidence=CONFIDENCE if self.confidence is None else self.confidence,
        )


def names(text: str, option: str) -> list[str]:
    """The names in a list with commas; none in an empty text.

    Raises:
        UserError: one of them is empty.
    """
    from bdm_core.errors import UserError

    if not text.strip():
        return []
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise UserError(f"{option} {text!r}: a name between the commas is empty")
    return found
