"""The table of bdm results: it fits the terminal, shows every number once, and tells similar cells apart."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bdm_cli.comparison import lines
from bdm_cli.summary import Row
from bdm_cli.tables import print_results, print_stages, wrap_label

METRICS = {
    "metric:frechet.digits": "Frechet distance (digits-classifier) ↓",
    "metric:target.mse": "MSE to target ↑",
    "metric:target.ssim": "SSIM to target ↓",
    "metric:target.asr@0.05": "ASR (MSE<0.05) ↓",
    "metric:target.asr@0.1": "ASR (MSE<0.1) ↓",
    "metric:target.leak": "leak (MSE<0.05) ↓",
    "metric:detection.verdict": "verdict (1 = backdoored) ↑",
    "metric:detection.threshold": "detection threshold",
}


def cell(attack: str = "villan", seeds: int = 5, **settings: object) -> list[Row]:
    who = {"attack": attack, "detect": "elijah", "purify": None, "repair": "elijah", "model": None, "data": None}
    rows = []
    for place, name in enumerate(("clean", "clean under trigger", "backdoored", "repaired")):
        only = [metric for metric in METRICS if "target.mse" not in metric or name != "clean"]
        values = {metric: [place + 0.125 + seed / 1000 for seed in range(seeds)] for metric in only}
        verdicts = ["backdoored"] * seeds if name == "backdoored" else []
        labels = {metric: METRICS[metric] for metric in only}
        rows.append(Row(who, name, ["run"] * seeds, list(range(seeds)), values, labels, verdicts, dict(settings)))
    return rows


def table(rows: list[Row], width: int, **options: bool) -> list[str]:
    return [line.plain for line in lines(rows, list(METRICS), width, **options)]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("seeds", [1, 5])
def test_it_fits_the_width_and_shows_every_number(width: int, seeds: int) -> None:
    text = table(cell(seeds=seeds), width)
    assert max(map(len, text)) <= width
    numbers = [word for line in text for word in line.split() if word.startswith("2.1")]
    assert len(numbers) == 6  # of the backdoored model: all metrics but those that only repeat the verdict
    assert f"{seeds} seeds" in "\n".join(text) or "seed 0" in "\n".join(text)
    assert f"backdoored {seeds}/{seeds}" in "\n".join(text) or seeds == 1


def test_one_table_is_enough_at_100_columns() -> None:
    text = table(cell(seeds=1), 100)
    assert sum("villan" in line for line in text) == 1 and len(text) <= 14


def test_figures_without_a_direction_are_named_and_shown_on_request() -> None:
    assert table(cell(), 100)[-2] == "--all also shows: verdict (1 = backdoored) ↑, detection threshold"
    everything = table(cell(), 100, everything=True)
    assert "--all" not in everything[-2] and sum("threshold" in line for line in everything) == 1


def test_cells_of_the_same_plugins_are_told_apart_by_their_settings() -> None:
    name = "attack:villan.poison_rate"
    text = table([*cell(**{name: 0.1, "device": "cpu"}), *cell(**{name: 0.2, "device": "cpu"})], 100)
    titles = [line for line in text if line.startswith("villan")]
    assert titles[:2] == [f"villan, defense elijah, 5 seeds, poison_rate={rate}" for rate in (0.1, 0.2)]
    many = [{f"attack:villan.p{index}": value for index in range(9)} for value in (1, 2)]
    assert "p5=1, 3 more" in "\n".join(table([*cell(**many[0]), *cell(**many[1])], 100))


def test_a_row_without_numbers_in_a_part_is_left_out_there() -> None:
    parts = "\n".join(table(cell(), 34)).split("\n\n")  # one metric in each part
    assert [("  clean" in part, "target ↑" in part) for part in parts[:-1]].count((False, True)) == 1
    assert all("  clean" in part for part in parts[:-1] if "MSE to" not in part and "verdict" not in part)


def test_names_are_wrapped_between_words_with_the_arrow_before_the_brackets() -> None:
    frechet = wrap_label("Frechet distance (digits-classifier) ↓", 10)
    assert frechet == ["Frechet", "distance ↓", "(digits-", "classifier)"]
    assert wrap_label("MSE to target ↑", 10) == ["MSE to", "target ↑"]
    assert wrap_label("p-value if clean", 20) == ["p-value if clean"]
    assert wrap_label("", 10) == [""]


def test_the_table_of_a_run_fits_80_columns() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    facts = {"stderr": 0.125, "higher_is_better": False}
    rows = ("clean", "clean under trigger", "backdoored", "repaired")
    results = [
        {"metric": metric, "row": row, "value": 3.221, "label": label[:-2], **facts}
        for metric, label in METRICS.items()
        for row in rows
    ]
    print_results(console, results)
    printed = console.export_text()
    assert printed.count("3.221 ±0.125") == len(METRICS) * 4
    assert "(digits-classifier)" in printed and "…" not in printed


def test_a_metric_of_clean_and_triggered_inputs_shows_both_numbers_of_a_row() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    facts = {"metric": "metric:m.cosine", "row": "backdoored", "label": "Cosine", "higher_is_better": None}
    print_results(console, [facts | {"on": "clean", "value": 0.111}, facts | {"on": "triggered", "value": 0.222}])
    printed = console.export_text()
    assert "0.111" in printed and "0.222" in printed and "Cosine, triggered" in printed


def test_scores_are_one_line_of_the_stages() -> None:
    facts = {"cached": False, "seconds": 1.5, "peak_memory_bytes": 2**20}
    stages = [{"label": "model", "stage": "open-model", **facts}]
    stages += [{"label": f"score clean: {name}", "stage": "score", **facts} for name in ("a", "b")]
    console = Console(width=80, record=True, file=io.StringIO())
    print_stages(console, stages)
    printed = console.export_text().splitlines()
    assert [line.split()[:3] for line in printed[2:]] == [["model", "1.50", "s"], ["scores", "3.00", "s"]]


def test_a_cell_without_numbers_in_a_part_has_no_heading_there() -> None:
    scan = Row({**cell()[0].cell, "attack": None}, "model", ["run"], [0], verdicts=["clean"])
    text = table([*cell(), scan], 40)
    assert sum(line.startswith("scan") for line in text) == 1 < sum(line.startswith("villan") for line in text)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_result_table_of_five_models_shows_every_number_once_at_every_width(width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    rows = ("clean", "clean under trigger", "backdoored", "purified", "repaired")
    values = iter(range(100, 200))
    results = [
        {"metric": metric, "row": row, "value": next(values) / 100, "label": label, "higher_is_better": None}
        for metric, label in METRICS.items()
        for row in rows
    ]
    print_results(console, results)
    printed = console.export_text()
    assert max(map(len, printed.splitlines())) <= width
    assert all(printed.count(f"{number / 100:.3f}") == 1 for number in range(100, 100 + len(results)))
    assert "classifier)" in printed and "better" not in printed
