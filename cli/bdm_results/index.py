"""The index over a folder of runs: a DuckDB file that can be deleted at any time, because the records say it all.

It is read-only while it is asked, and never changed in place: a new state is written beside it and takes its name in
one step, so that any number of processes may ask and renew it at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core.errors import UserError
from bdm_core.files import as_unicode, existing
from bdm_core.store import paths
from bdm_results.columns import BESIDE, NUMBER_COLUMNS, RUN_COLUMNS, name_of
from bdm_results.engines import engine
from bdm_results.fingerprints import fingerprints

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Connection

    from bdm_results.reading import ReadRun

FILE = "results.duckdb"
"""The index's name in the folder of the runs."""
VERSION = 4
"""Raised whenever tables, or what is read into them, change; an index of another version is made anew."""
BATCH = 200
"""So many runs are read before they go into the index."""
ABANDONED_SECONDS = 3600
"""After so long what a killed process left half-written is deleted."""
TYPES = {"text": "VARCHAR", "number": "DOUBLE", "integer": "BIGINT", "boolean": "BOOLEAN"}
TABLES = {
    "version": {"number": "INTEGER"},
    "runs": dict.fromkeys(("folder", "fingerprint", "status", "warnings", "cell", *BESIDE), "VARCHAR")
    | {name: TYPES[kind] for name, kind in RUN_COLUMNS.items()}
    | {"final": "VARCHAR", "id": "INTEGER"},
    "numbers": {"id": "INTEGER"}
    | {name: TYPES[kind] for name, kind in NUMBER_COLUMNS.items()}
    | {"detector": "VARCHAR"},
    "cells": {"cell": "VARCHAR", "settings": "VARCHAR"},
    "parameters": {"cell": "VARCHAR", "name": "VARCHAR", "text": "VARCHAR", "kind": "VARCHAR"},
}
"""The tables with their columns. ``settings`` is JSON; ``parameters`` has one row for each of a cell's parameters."""
SETTINGS = {"memory_limit": "300MB", "threads": "2", "autoinstall_known_extensions": "false"}
"""Of every connection; in use it also can neither open other files nor change its settings."""


def open_index(folder: Path, *, anew: bool = False) -> Connection:
    """The index of a folder, up to date, opened so that nothing can be written, and no other file read.

    Args:
        folder: what ``bdm run --out`` wrote to.
        anew: read all runs again, whatever an index says.

    Raises:
        UserError: the folder cannot be read or holds no runs, or DuckDB is not installed.
    """
    present = fingerprints(folder)
    if not present:
        raise UserError(f"no runs in {folder}: give the folder that `bdm run --out` wrote to")
    for path in [] if anew else places(folder):
        found = _opened(path)
        if found is None:
            continue
        known = _known(found)
        if known == present:
            return found
        found.close()
        same = sum(present.get(name) == state for name, state in known.items())
        return _renewed(folder, present, path if 2 * same > len(present) else None)
    return _renewed(folder, present, None)


def places(folder: Path) -> list[Path]:
    """Where the index of a folder may lie: beside the runs, or where these are read-only in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    found = [folder / FILE]
    with contextlib.suppress(RuntimeError):  # a user without a home
        found.append(cache.expanduser() / "bdm" / "results" / f"{name}.duckdb")
    return [path for path in found if as_unicode(str(path)) == str(path)]  # DuckDB opens no others


def _renewed(folder: Path, present: dict[str, str], earlier: Path | None) -> Connection:
    """Write the index anew to the first place that can be written, else to memory.

    What has not changed is taken from an earlier one, if it is given.
    """
    duckdb = engine("duckdb")
    for path in places(folder):
        draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        try:
            if path == folder / FILE:
                _sweep(folder)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
            _write(draft, earlier, folder, present)
            draft.replace(path)
        except (OSError, duckdb.Error):
            continue
        finally:
            for leftover in (draft, draft.with_name(f"{draft.name}.wal")):
                with contextlib.suppress(OSError):
                    leftover.unlink()
        found = _opened(path)
        if found is not None:
            return found
    memory: Connection = duckdb.connect(":memory:", config=SETTINGS)
    _fill(memory, folder, present)
    _lock(memory)
    return memory


def _opened(path: Path) -> Connection | None:
    """An index file as it is, read-only; None if there is none, or none of this version, or a damaged one."""
    if not _is_file(path):
        return None
    duckdb = engine("duckdb")
    with contextlib.suppress(duckdb.Error):
        connection: Connection = duckdb.connect(str(path), read_only=True, config=SETTINGS)
        try:
            _check(connection)
            _lock(connection)
        except duckdb.Error:
            connection.close()
            raise
        return connection
    return None


def _check(connection: Connection) -> None:
    """Raises an error of DuckDB unless the tables are those of this version, and tables."""
    rows = _all(
        connection,
        "SELECT table_name, column_name, c.data_type FROM duckdb_columns() c JOIN duckdb_tables() USING (table_name)"
        " WHERE NOT c.internal ORDER BY c.column_index",
    )
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        found.setdefault(table, {})[column] = kind
    views = _all(connection, "SELECT count(*) FROM duckdb_views() WHERE NOT internal")
    version = _all(connection, "SELECT max(number) FROM version")
    if found != TABLES or views != [(0,)] or version != [(VERSION,)]:
        raise engine("duckdb").Error("an index of another version")


def _lock(connection: Connection) -> None:
    _all(connection, "SET enable_external_access = false")
    _all(connection, "SET lock_configuration = true")


def _all(connection: Connection, query: str, values: Sequence[Any] = ()) -> list[Any]:
    """A statement's rows, all of them: a connection that has more to give takes no other statement."""
    found: list[Any] = connection.execute(query, list(values)).fetchall()
    return found


def _known(connection: Connection) -> dict[str, str]:
    try:
        return dict(_all(connection, "SELECT folder, fingerprint FROM runs"))
    except engine("duckdb").Error:  # damaged further within
        return {}


def _write(draft: Path, earlier: Path | None, folder: Path, present: dict[str, str]) -> None:
    duckdb = engine("duckdb")
    if earlier is not None:
        shutil.copyfile(earlier, draft)
    connection = duckdb.connect(str(draft), config=SETTINGS)
    try:
        _fill(connection, folder, present)
    except duckdb.Error:
        if earlier is None:
            raise
        connection.close()
        draft.unlink()
        _write(draft, None, folder, present)
        return
    connection.close()


def _fill(connection: Connection, folder: Path, present: dict[str, str]) -> None:
    """Bring the tables to the present state of the folder."""
    from bdm_results.reading import read_run

    for table, columns in TABLES.items():
        fields = ", ".join(f"{name_of(name)} {kind}" for name, kind in columns.items())
        _all(connection, f"CREATE TABLE IF NOT EXISTS {table} ({fields})")
    _all(connection, "DELETE FROM version")
    _all(connection, "INSERT INTO version VALUES (?)", [VERSION])
    known = _known(connection)
    gone = [name for name, state in known.items() if present.get(name) != state]
    if gone:
        stale = "SELECT id FROM runs WHERE folder IN (SELECT unnest(?))"
        _all(connection, f"DELETE FROM numbers WHERE id IN ({stale})", [gone])
        _all(connection, "DELETE FROM runs WHERE folder IN (SELECT unnest(?))", [gone])
    cells = {cell for (cell,) in _all(connection, "SELECT cell FROM cells")}
    ((first,),) = _all(connection, "SELECT coalesce(max(id), -1) + 1 FROM runs")
    new = [name for name, state in present.items() if known.get(name) != state]
    for start in range(0, len(new), BATCH):
        batch = enumerate(new[start : start + BATCH], start=first + start)
        runs = [(number, name, read_run(folder / name)) for number, name in batch]
        for table, rows in _rows(runs, present, cells):
            _insert(connection, table, rows)


def _rows(
    runs: list[tuple[int, str, ReadRun]], present: dict[str, str], cells: set[str]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What a batch of runs adds to each table."""
    records, numbers, settings, parameters = [], [], [], []
    for number, name, run in runs:
        state = {"id": number, "folder": printable_name(name), "fingerprint": present[name], "status": run.status}
        records.append({**state, "warnings": json.dumps(run.warnings), "cell": run.cell, **run.besides, **run.facts})
        numbers += [{"id": number, **row} for row in run.numbers]
        if run.cell not in cells:
            cells.add(run.cell)
            settings.append({"cell": run.cell, "settings": json.dumps(run.settings)})
            items = [(name, value) for name, value in run.settings.items() if "." in name and " " not in name]
            parameters += [{"cell": run.cell, "name": name, **_parameter(value)} for name, value in items]
    yield from {"runs": records, "numbers": numbers, "cells": settings, "parameters": parameters}.items()


def _parameter(value: Any) -> dict[str, Any]:
    if isinstance(value, str) or value is None:
        return {"text": value, "kind": None if value is None else "text"}
    kind = "boolean" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "text"
    return {"text": json.dumps(value), "kind": kind}


def _insert(connection: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    pyarrow = engine("pyarrow")
    kinds = {"VARCHAR": "string", "DOUBLE": "float64", "BIGINT": "int64", "INTEGER": "int32", "BOOLEAN": "bool_"}
    columns = TABLES[table]
    schema = pyarrow.schema([(name, getattr(pyarrow, kinds[kind])()) for name, kind in columns.items()])
    data = {name: [row.get(name) for row in rows] for name in columns}
    connection.register("batch", pyarrow.table(data, schema=schema))
    _all(connection, f"INSERT INTO {table} SELECT * FROM batch")
    connection.unregister("batch")


def printable_name(name: str) -> str:
    """A folder's name that any table can hold; bytes that are no text are written out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _sweep(folder: Path) -> None:
    """Delete what killed processes left of an index long ago."""
    for path in folder.glob(f".{FILE}.*"):
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > ABANDONED_SECONDS:
                path.unlink()


def one_run(folder: Path) -> Connection:
    """An index in memory of the one run that a folder is. Raises a UserError if it is damaged."""
    connection: Connection = engine("duckdb").connect(":memory:", config=SETTINGS)
    _fill(connection, folder.parent, {folder.name: ""})
    _lock(connection)
    ((status, warnings),) = _all(connection, "SELECT status, warnings FROM runs")
    if status == "damaged":
        raise UserError(json.loads(warnings)[0].removeprefix("left out: "))
    return connection


def index_of(folder: Path, *, anew: bool = False) -> Connection:
    """The index of a folder of runs, or of the one run that it is.

    Raises:
        UserError: see :func:`open_index`.
    """
    if existing(folder / paths.RUN_RECORD):
        return one_run(folder.resolve())
    return open_index(folder, anew=anew)
