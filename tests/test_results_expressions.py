"""``--where``: what it selects, against the same choice in Python, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import make_run

from bdm_core.errors import UserError
from bdm_results.columns import Columns
from bdm_results.expressions import parse
from bdm_results.results import Results, Selection

pytest.importorskip("duckdb", reason="not installed: pip install 'bdm[results]'")
PARAMETERS = {"attack:a.rate": "number", "attack:b.rate": "number", "defense:x.words": "text", "attack:a.on": "boolean"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("where") / "runs"
    for seed in range(4):
        for attack, rate in (("it's", 0.1), ("b", 0.3)):
            for defense in ("x", None):
                rows = {"backdoored": {"asr": 0.9, "acc": None}, "repaired": {"asr": seed / 10}}
                params = {"poison_rate": rate, "fast": seed > 1, "words": "a b"}
                make_run(folder, attack, defense, seed, rows, params=params)
    return Results(folder)


CASES = {
    "seed = 1": lambda row: row["seed"] == 1,
    "seed == 1 or seed == 2": lambda row: row["seed"] in (1, 2),
    "seed >= 1 AND seed<3 and value > .15": lambda row: 1 <= row["seed"] < 3 and (row["value"] or 0) > 0.15,
    "attack = 'it''s'": lambda row: row["attack"] == "it's",
    "attack != 'b'": lambda row: row["attack"] != "b",
    "defense = 'x'": lambda row: row["repair"] == "x",
    "defense != 'x'": lambda row: row["repair"] != "x",
    "NOT defense = 'x'": lambda row: row["repair"] != "x",
    "defense NOT IN ('x', 'y')": lambda row: row["repair"] != "x",
    "repair IS NULL": lambda row: row["repair"] is None,
    "value IS NOT NULL": lambda row: row["value"] is not None,
    "seed BETWEEN 1 AND 2": lambda row: 1 <= row["seed"] <= 2,
    "NOT (seed = 1 OR seed = 2) AND attack LIKE 'it%'": lambda row: row["seed"] in (0, 3) and row["attack"] == "it's",
    "attack ILIKE 'B'": lambda row: row["attack"] == "b",
    "poison_rate > 0.2": lambda row: row["attack"] == "b",
    "attack:b.poison_rate = 3e-1": lambda row: row["attack"] == "b",
    '"attack:b.poison_rate" < 0.2': lambda row: False,
    "attack:b.fast": lambda row: row["attack"] == "b" and row["seed"] > 1,
    "fast = FALSE": lambda row: row["seed"] <= 1,
    "words = 'a b'": lambda row: True,
    "value > stderr": lambda row: False,
    "ROW = 'backdoored' and higher_is_better": lambda row: row["row"] == "backdoored" and row["metric"].endswith("acc"),
}


@pytest.mark.parametrize("text", CASES)
def test_it_selects_what_python_would(results: Results, text: str) -> None:
    from bdm_core import api

    rows = [row for row in api.results(results.folder) if CASES[text](row)]
    found = results.frame(Selection(where=text))
    assert sorted(zip(found["run"], found["metric"], found["row"], strict=True)) == sorted(
        (row["run"], row["metric"], row["row"]) for row in rows
    )


REFUSED = {
    "": "a column or a value is missing",
    "seed =": "missing",
    "seed = 1 seed = 2": "there is more after '1'",
    "(seed = 1": "')' is missing",
    "sede = 1": "did you mean 'seed'",
    'attack = "villan"': "a text stands in single quotes: 'villan'",
    "attack = 3": "attack is a text, compared with a number",
    "'x' = seed": "seed is a number, compared with a text",
    "seed": "a comparison is missing",
    "seed = 1; DROP TABLE runs": "cannot read ';",
    "seed = 1 -- x": "cannot read '-- x'",
    "(SELECT 1) = 1": "no column 'SELECT'",
    "seed IN (SELECT seed FROM runs)": "no column 'SELECT'",
    "read_csv('/etc/passwd') = 1": "no column 'read_csv'",
    "seed = 1) OR (seed = 2": "there is more after '1'",
    "seed = ?": "cannot read '?'",
    "seed LIKE '1'": "LIKE is for columns of text",
    "attack IN (repair)": "a value is missing, not a column",
    "a" * 5000: "at most 4000 characters",
    "(" * 60 + "seed = 1" + ")" * 60: "more than 50 parentheses",
    "NOT " * 60 + "seed = 1": "more than 50 parentheses",
    "seed = 1x": "cannot read '1x'",
    "attack = 'open": 'cannot read "\'open"',
    "where = 1": "no column 'where'",
}


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_one_line(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text, Columns(PARAMETERS))
    assert REFUSED[text] in str(caught.value)


def test_texts_and_numbers_are_parameters_and_never_sql() -> None:
    condition = parse("attack = 'x'' OR 1=1 --' AND seed IN (1, -2.5e3)", Columns(PARAMETERS))
    assert condition.values == ["x' OR 1=1 --", 1.0, -2500.0]
    assert "OR" not in condition.sql and condition.sql.count("?") == 3


def test_a_short_name_is_that_of_any_attack_and_of_one_other_plugin() -> None:
    columns = Columns({**PARAMETERS, "defense:x.steps": "number", "defense:y.steps": "number"})
    assert "attack:a.rate" in columns.find("rate").sql and "attack:b.rate" in columns.find("rate").sql
    assert columns.find("words").parameter == "defense:x.words"
    with pytest.raises(UserError, match=r"may be defense:x.steps, defense:y.steps: give the whole name"):
        columns.find("steps")


def test_names_of_parameters_cannot_leave_their_quotes(tmp_path: Path) -> None:
    name = "p');DROP/**/TABLE/**/runs;--"
    make_run(tmp_path / "runs", "a", None, 0, {"repaired": {"asr": 0.5}}, params={name: 1})
    results = Results(tmp_path / "runs")
    assert len(results.frame(Selection(where=f'"attack:a.{name}" = 1'))) == 1
