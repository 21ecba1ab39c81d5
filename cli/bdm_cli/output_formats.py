"""Tables as files and documents: CSV, JSON, Parquet, LaTeX, Markdown. No text in them runs where they are opened."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from bdm_cli.analysis_options import Format
from bdm_cli.console import out, print_lines, printable
from bdm_cli.output_tables import OutputTable, cell
from bdm_core.errors import UserError
from bdm_results.engines import engine
from bdm_results.intervals import Estimate

FORMULA = ("=", "+", "-", "@")
"""A spreadsheet may run a cell of text that begins so."""
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~!])")


def deliver(
    tables: list[OutputTable], form: Format, file: Path | None, left_out: list[dict[str, str]] | None = None
) -> None:
    """Print tables, or write them to a file; JSON also says which runs do not count.

    Raises:
        UserError: the file cannot be written, or Parquet is to be printed.
    """
    if form is Format.parquet:
        _write_parquet(one(tables), file)
    elif form is Format.table and file is None:
        width = out().width
        print_lines(text for table in tables for text in table.lines(width))
    else:
        give(text_of(tables, form, left_out), file)


def text_of(tables: list[OutputTable], form: Format, left_out: list[dict[str, str]] | None = None) -> str:
    """Tables in one of the formats that are text."""
    if form is Format.csv:
        return csv_text(*one(tables))
    if form is Format.json:
        found = {"tables": [document(table) for table in tables], "left_out": left_out or []}
        return json.dumps(found, indent=2) + "\n"
    if form is Format.latex:
        return "\n".join(map(latex, tables))
    if form is Format.markdown:
        return "\n".join(map(markdown, tables))
    return "".join(f"{printable(text.plain)}\n" for table in tables for text in table.lines(120))


def give(text: str, file: Path | None) -> None:
    """Print a text, or write it to a file.

    Raises:
        UserError: the file cannot be written.
    """
    if file is None:
        print(text, end="")
        return
    try:
        file.write_text(text, encoding="utf-8", errors="replace")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {file}: {getattr(error, 'strerror', None) or error}") from None


def one(tables: list[OutputTable]) -> tuple[list[str], list[list[Any]]]:
    """Several tables as one, with plain cells: an estimate becomes mean, ends and n; a column of titles if several."""
    header: dict[str, None] = {}
    records = []
    for table in tables:
        for row in table.rows:
            record: dict[str, Any] = {"table": table.title} if len(tables) > 1 else {}
            for place, (name, value) in enumerate(zip(table.header, row, strict=True)):
                if any(isinstance(other[place], Estimate) for other in table.rows):
                    record |= _spread(name, value)
                else:
                    record[name] = value
            header |= dict.fromkeys(record)
            records.append(record)
    return list(header), [[record.get(name) for name in header] for record in records]


def _spread(name: str, value: Any) -> dict[str, Any]:
    estimate = value if isinstance(value, Estimate) else None
    low, high = (estimate and estimate.interval) or (None, None)
    mean, n = (estimate.mean, estimate.n) if estimate else (None, None)
    return {name: mean, f"{name} low": low, f"{name} high": high, f"{name} n": n}


def csv_text(header: list[str], rows: list[list[Any]]) -> str:
    """A CSV file without anything that a spreadsheet would run."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(map(harmless, header))
    writer.writerows(map(harmless, row) for row in rows)
    return written.getvalue()


def harmless(cell: Any) -> Any:
    """A cell of a CSV file: text that a spreadsheet would run begins with an apostrophe."""
    if cell is None or isinstance(cell, int | float):
        return cell
    if not isinstance(cell, str):
        cell = json.dumps(cell)
    risky = cell[:1] in FORMULA or ord(cell[:1] or "0") < 0x20
    return f"'{printable(cell)}" if risky else printable(cell)


def document(table: OutputTable) -> dict[str, Any]:
    """A table as JSON: a record a row, estimates with mean, interval, deviation and n."""
    rows = [dict(zip(table.header, map(_plain, row), strict=True)) for row in table.rows]
    return {"title": table.title, "rows": rows, "notes": table.notes}


def _plain(value: Any) -> Any:
    if not isinstance(value, Estimate):
        return value
    interval = value.interval
    return {
        "mean": value.mean,
        "interval": None if interval is None else list(interval),
        "confidence": value.confidence,
        "std": value.deviation,
        "n": value.n,
    }


def _write_parquet(table: tuple[list[str], list[list[Any]]], file: Path | None) -> None:
    if file is None:
        raise UserError("--format parquet needs --output FILE: it is no text")
    header, rows = table
    pyarrow, parquet = engine("pyarrow"), engine("pyarrow.parquet")
    columns = {name: _of_one_type([row[place] for row in rows]) for place, name in enumerate(header)}
    try:
        with file.open("wb") as stream:
            parquet.write_table(pyarrow.table(columns), stream)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {file}: {getattr(error, 'strerror', None) or error}") from None


def _of_one_type(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and len(kinds) == 2:
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1 or kinds & {list, dict}:
        return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return values


def latex(table: OutputTable) -> str:
    """A ``tabular`` for the package booktabs."""
    lines = [f"% {printable(text)}" for text in (table.title, *table.notes) if text]
    columns = "l" * table.keys + "r" * (len(table.header) - table.keys)
    lines += [f"\\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [" & ".join(map(_tex, table.header)) + r" \\", r"\midrule"]
    lines += [" & ".join(_tex(cell(value)) for value in row) + r" \\" for row in table.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _tex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in " ".join(printable(text).split()))


def markdown(table: OutputTable) -> str:
    """A table in Markdown, with its title and notes."""
    rule = ["---"] * table.keys + ["---:"] * (len(table.header) - table.keys)
    rows = [table.header, *([cell(value) for value in row] for row in table.rows)]
    lines = [f"| {' | '.join(map(_marked, row))} |" for row in rows]
    lines.insert(1, f"|{'|'.join(rule)}|")
    title = [f"**{_marked(table.title)}**", ""] if table.title else []
    notes = ["", *(_marked(note) for note in table.notes)] if table.notes else []
    return "\n".join([*title, *lines, *notes, ""])


def _marked(text: str) -> str:
    return MARKDOWN.sub(r"\\\1", " ".join(printable(text).split()))
