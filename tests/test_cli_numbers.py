"""Numbers in the terminal, checked against values worked out by hand."""

import io
import statistics
from typing import Any

import pytest
from rich.console import Console

from bdm_cli.numbers import number
from bdm_cli.summary import summarise
from bdm_cli.tables import print_results


def test_three_significant_digits_and_the_error_alike() -> None:
    assert number(0.95312) == "0.953"
    assert number(0.95312, 0.01234) == "0.953 ±0.012"
    assert number(12.3456, 0.5) == "12.35 ±0.50"
    assert number(1234.5) == "1234.5"
    assert number(26100.0) == "26100"
    assert number(0.00002) == "2.0e-05"
    assert number(0.0) == "0.000"
    assert number(None) == "-"


def line(row: str, metric: str, value: float | None, label: str, better: bool | None = False) -> dict[str, Any]:
    return {"row": row, "metric": metric, "value": value, "stderr": 0.01, "label": label, "higher_is_better": better}


def test_the_full_table_fits_80_columns_without_breaking_a_number() -> None:
    rows = ("clean", "clean under trigger", "backdoored", "repaired")
    metrics = {
        "metric:frechet.digits": "Fréchet distance (digits classifier)",
        "metric:target.asr@0.05": "ASR (MSE<0.05)",
    }
    results = [line(row, metric, 123.456, label) for metric, label in metrics.items() for row in rows]
    console = Console(width=80, record=True, file=io.StringIO())
    print_results(console, results)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("123.5 ±0.0") == 8


def numbers_of(name: str, seed: int, values: dict[str, float | None], **options: Any) -> list[dict[str, Any]]:
    facts = {"run": name, "seed": seed, "attack": "a", "detect": "d", "task": "t", **options}
    return [{**facts, **line("backdoored", metric, value, metric)} for metric, value in values.items()]


def test_mean_and_deviation_over_seeds_are_the_samples() -> None:
    values = [0.9, 0.95, 1.0]
    lines = [number for seed, value in enumerate(values) for number in numbers_of(f"r{seed}", seed, {"m": value})]
    (row,) = summarise(lines)
    assert row.mean("m") == statistics.fmean(values) and row.deviation("m") == statistics.stdev(values)
    assert row.seeds == [0, 1, 2] and row.runs == ["r0", "r1", "r2"]
    assert [row.values["m"] for row in summarise(lines, by_seed=True)] == [[0.9], [0.95], [1.0]]


def test_a_later_run_of_the_same_seed_replaces_the_earlier_one() -> None:
    (row,) = summarise([*numbers_of("old", 0, {"m": 1.0}), *numbers_of("new", 0, {"m": 3.0})])
    assert (row.mean("m"), row.deviation("m"), row.runs) == (3.0, None, ["new"])


@pytest.mark.parametrize("option", ["data_share", "attack:a.rate", "attack:a version", "model"])
def test_other_parameters_are_another_cell_and_missing_values_are_left_out(option: str) -> None:
    lines = [*numbers_of("r0", 0, {"m": None}), *numbers_of("r1", 1, {"m": 2.0})]
    rows = summarise([*lines, *numbers_of("r2", 2, {"m": 5.0}, **{option: "other"})])
    assert [(row.mean("m"), len(row.seeds)) for row in rows] == [(2.0, 2), (5.0, 1)]
    assert rows[1].parameters() == ({option: "other"} if option == "attack:a.rate" else {})
