"""The index of runs: always what the records say, whatever happened to it, and nothing but them."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from made_runs import make_grid, make_run

from bdm_core import api
from bdm_core.errors import UserError
from bdm_results import index
from bdm_results.results import Results, Selection

duckdb = pytest.importorskip("duckdb", reason="not installed: pip install 'bdm[results]'")
FILE = index.FILE


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return make_grid(tmp_path / "runs", {("a", "x"): [0.1, 0.2, 0.3], ("a", "y"): [0.4, 0.5], ("b", "x"): [0.6]})


def values(folder: Path) -> list[float]:
    asked = Selection(metrics=("asr",), rows=("repaired",))
    return sorted(Results(folder).frame(asked)["value"])


WHOLE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def test_it_says_what_the_records_say(runs: Path) -> None:
    frame = Results(runs).frame()
    plain = api.results(runs)
    assert len(frame) == len(plain)
    for name in ("run", "attack", "repair", "seed", "row", "metric", "value", "label", "attack:a.poison_rate"):
        given = [row.get(name) for row in plain]
        found = [None if value != value else value for value in frame[name].tolist()]
        assert sorted(map(str, found)) == sorted(map(str, given)), name


def test_new_changed_and_deleted_runs_are_seen(runs: Path) -> None:
    assert values(runs) == WHOLE
    make_run(runs, "b", "y", 0, {"repaired": {"asr": 0.7}}, name="new")
    assert values(runs) == [*WHOLE, 0.7]
    path = runs / "new" / "results.jsonl"
    path.write_text(path.read_text().replace("0.7", "0.8"))
    assert values(runs) == [*WHOLE, 0.8]
    shutil.rmtree(runs / "new")
    assert values(runs) == WHOLE


def test_one_that_is_open_keeps_its_state_while_another_is_renewed(runs: Path) -> None:
    before = Results(runs)
    make_run(runs, "b", "y", 0, {"repaired": {"asr": 0.7}}, name="new")
    after = Results(runs)
    assert len(after.frame()) == len(before.frame()) + 1 == len(Results(runs).frame())


def test_what_has_not_changed_is_not_read_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bdm_results.reading as reading

    values(runs)
    read: list[str] = []
    whole = reading.read_run
    monkeypatch.setattr(reading, "read_run", lambda folder: read.append(folder.name) or whole(folder))
    assert values(runs) == WHOLE and read == []
    make_run(runs, "b", "y", 0, {"repaired": {"asr": 0.7}}, name="new")
    assert values(runs) == [*WHOLE, 0.7] and read == ["new"]


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "middle", "folder", "link", "other-tables", "view"])
def test_a_damaged_index_is_made_anew(runs: Path, tmp_path: Path, damage: str) -> None:
    values(runs)
    path = runs / FILE
    content = path.read_bytes()
    path.unlink()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("this is no database")
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "middle":
        half = len(content) // 2
        path.write_bytes(content[:half] + b"\xff" * 4096 + content[half + 4096 :])
    elif damage == "folder":
        path.mkdir()
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    else:
        with duckdb.connect(str(path)) as connection:
            text = "CREATE VIEW runs AS SELECT 1" if damage == "view" else "CREATE TABLE version (number INTEGER)"
            connection.execute(text).fetchall()
    assert values(runs) == WHOLE
    assert damage == "folder" or (path.is_file() and not path.is_symlink())


def test_an_index_of_another_version_is_made_anew(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "VERSION", 0)
    values(runs)
    monkeypatch.undo()
    assert values(runs) == WHOLE
    with duckdb.connect(str(runs / FILE), read_only=True) as connection:
        assert connection.execute("SELECT number FROM version").fetchall() == [(index.VERSION,)]


def test_damage_that_shows_when_it_is_asked_is_mended(runs: Path) -> None:
    results = Results(runs)
    results._index.close()  # every statement fails from here on, as one does that meets a damaged block
    assert results.ask("SELECT count(*) FROM runs") == [(6,)]


def test_where_nothing_can_be_written_the_index_lies_in_the_cache_or_in_memory(
    runs: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = index._write

    def refuse(draft: Path, *rest: object) -> None:
        if draft.is_relative_to(runs):
            raise PermissionError(13, "read-only", str(draft))
        whole(draft, *rest)

    monkeypatch.setattr(index, "_write", refuse)
    assert values(runs) == WHOLE and not (runs / FILE).exists()
    assert [path.suffix for path in (cache / "bdm" / "results").iterdir()] == [".duckdb"]
    assert values(runs) == WHOLE
    monkeypatch.setattr(index, "_write", lambda *_: (_ for _ in ()).throw(OSError(30, "read-only")))
    shutil.rmtree(cache)
    assert values(runs) == WHOLE and not (runs / FILE).exists()


def test_two_at_once_get_the_same_answer(runs: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: values(runs), range(8)))
    assert found == [WHOLE] * 8
    assert [path.name for path in runs.iterdir() if path.is_file()] == [FILE]


def test_what_a_killed_process_left_is_deleted(runs: Path) -> None:
    old, new = runs / f".{FILE}.1-ab", runs / f".{FILE}.2-cd"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert values(runs) == WHOLE
    assert not old.exists() and new.exists()


def test_it_can_neither_be_written_nor_read_other_files(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    results = Results(runs)
    for text in (
        f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
        f"COPY runs TO '{tmp_path}/out.csv'",
        f"ATTACH '{tmp_path}/other.duckdb'",
        "DELETE FROM runs",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ):
        with pytest.raises(duckdb.Error):
            results._index.execute(text).fetchall()
    assert not (tmp_path / "out.csv").exists() and not (tmp_path / "other.duckdb").exists()


def test_an_index_that_somebody_else_wrote_stops_nothing(runs: Path, tmp_path: Path) -> None:
    from bdm_cli.indexed import rows_of

    values(runs)
    with duckdb.connect(str(runs / FILE)) as connection:
        for text in (
            "UPDATE cells SET settings = '['",
            "UPDATE parameters SET text = '{', kind = 'number'",
            "UPDATE runs SET warnings = 'no json', started = NULL",
            "UPDATE numbers SET label = NULL",
        ):
            connection.execute(text).fetchall()
    results = Results(runs)
    assert len(rows_of(results, Selection(), by_seed=False)) == 6
    assert (
        results.warnings == []
        and len(results.frame()) == 12 * 2
        and results.frame()["attack:a.poison_rate"].isna().all()
    )


def hostile(folder: Path, kind: str) -> None:
    """A run's folder as no run leaves it."""
    folder.mkdir()
    record = {
        "schema_version": 2,
        "status": "complete",
        "spec": {"attack": "a"},
        "plugins": {},
        "detections": {},
        "seed": 0,
    }
    (folder / "results.jsonl").write_text('{"metric": "m", "row": "clean", "value": 1}\n')
    path = folder / "run.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "half":
        path.write_text(json.dumps(record)[:40])
    elif kind == "binary":
        path.write_bytes(bytes(range(256)))
    elif kind == "deep":
        path.write_text("[" * 200_000)
    elif kind == "huge seed":
        path.write_text(json.dumps({**record, "seed": 10**400}))
    elif kind == "list as name":
        path.write_text(json.dumps({**record, "spec": {"attack": ["a"]}}))
    elif kind == "folder as numbers":
        path.write_text(json.dumps(record))
        (folder / "results.jsonl").unlink()
        (folder / "results.jsonl").mkdir()
    elif kind == "large":
        path.write_text(" " * 2**24 + json.dumps(record))
    elif kind == "no numbers":
        path.write_text(json.dumps(record))
        (folder / "results.jsonl").unlink()


KINDS = [
    "pipe",
    "device",
    "half",
    "binary",
    "deep",
    "huge seed",
    "list as name",
    "folder as numbers",
    "large",
    "no numbers",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_folder_is_one_warning(runs: Path, kind: str) -> None:
    hostile(runs / "odd", kind)
    results = Results(runs)
    assert len(results.warnings) == 1 and "odd" in results.warnings[0] and "\n" not in results.warnings[0]
    assert values(runs) == WHOLE
    assert Results(runs).warnings == results.warnings
    with pytest.raises(UserError):
        Results(runs / "odd")


def test_hostile_numbers_do_no_harm(runs: Path) -> None:
    make_run(
        runs, "c\x1b[31m'\"", "x\ud800", 1, {"repaired": {"asr": 0.7}}, params={"p": {"a": [1] * 5000}}, name="odd"
    )
    lines = [
        {
            "metric": "metric:made.asr",
            "row": "repaired",
            "value": 0.75,
            "seed": {},
            "run": [],
            "n": "many",
            "label": [1],
        },
        {"metric": "metric:made.asr", "row": "repaired", "value": 10**400, "stderr": True},
        {"metric": "m" * 5000, "row": "\ud800", "value": None, "attack": 3},
    ]
    with (runs / "odd" / "results.jsonl").open("a") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)
        stream.write('{"metric": "m", "row": "clean", "value": NaN}\n')
    frame = Results(runs).frame()
    odd = frame[frame["run"] == "odd"]
    assert set(odd["seed"]) == {1} and {0.7} <= set(odd["value"].dropna()) <= {0.7, 0.75}


def test_a_folder_of_many_broken_runs_is_a_handful_of_warnings(tmp_path: Path) -> None:
    make_grid(tmp_path / "runs", {("a", "x"): [0.1]})
    for number in range(200):
        (tmp_path / "runs" / f"broken{number}").mkdir()
        (tmp_path / "runs" / f"broken{number}" / "run.json").write_text("{")
    warnings = Results(tmp_path / "runs").warnings
    more, count = warnings[-2:]
    assert len(warnings) == 12 and more == "190 more warnings about runs are not shown"
    assert count == "200 runs are left out, because they cannot be read"


@pytest.mark.parametrize("text", ["nowhere", "x" * 300, "made_runs.py"])
def test_a_folder_without_runs_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError):
        Results(tmp_path / text)
    assert not (tmp_path / "cache").exists()
