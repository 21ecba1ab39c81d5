"""What somebody new asks ``bdm results`` and ``bdm plot``: the control, uneven groups, files by name, legible plots."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_process import Done, bdm, error_line
from fake_site import FakeSite
from made_runs import make_grid, make_run

pytest.importorskip("duckdb", reason="not installed: pip install 'bdm[results]'")
ATTACKS = ("villan", "trojdiff", "blend")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three attacks, each against the control, whose backdoor stays, and two defenses; two seeds."""
    folder = tmp_path_factory.mktemp("made") / "runs"
    levels = {"fine-tune": 0.3, "elijah": 0.1}
    make_grid(folder, {(attack, defense): [level, level] for attack in ATTACKS for defense, level in levels.items()})
    for attack in ATTACKS:
        for seed in range(2):
            make_run(folder, attack, None, seed, {"backdoored": {"asr": 0.9, "acc": 0.9}})
    return folder


@pytest.fixture
def ask(fake_site: FakeSite, made: Path):  # type: ignore[no-untyped-def]
    def command(*arguments: object) -> Done:
        return bdm(fake_site, "results", made, *arguments)

    return command


def test_the_control_is_a_defense_as_others_are(ask) -> None:  # type: ignore[no-untyped-def]
    compared = ask("--compare", "fine-tune,none", "--metric", "ASR")
    assert compared.returncode == 0 and "0.600 ±0.000 (3)" in compared.stdout
    ranks = [line.split()[:2] for line in ask("--ranks", "defense", "--metric", "ASR").stdout.splitlines()]
    assert [line for line in ranks if line and line[0] in ("elijah", "fine-tune", "none")] == [
        ["elijah", "1"],
        ["fine-tune", "2"],
        ["none", "3"],
    ]
    chosen = ask("--where", "defense = 'none'", "--group-by", "defense", "--metric", "ASR", "--format", "csv").stdout
    assert chosen.splitlines()[1].startswith("none,backdoored,0.9")
    grid = ask("--pivot", "attack,defense", "--metric", "ASR", "--format", "csv").stdout
    assert "none,none low" in grid.splitlines()[0]


def test_a_grid_and_plots_warn_of_uneven_groups_once(fake_site: FakeSite, tmp_path: Path) -> None:
    folder = make_grid(tmp_path / "runs", {("a", "x"): [0.1, 0.2], ("b", "x"): [0.1], ("b", "y"): [0.1, 0.2]})
    text = "1 of 2 groups do not have the same number of runs for every seed"
    grid = bdm(fake_site, "results", folder, "--pivot", "defense,task")
    assert grid.stderr.count(text) == 1
    file = tmp_path / "plot.png"
    for arguments in (["--pivot", "defense,task"], ["--kind", "curves", "--over", "poison_rate"]):
        assert bdm(fake_site, "plot", folder, *arguments, "--output", file).stderr.count(text) == 1
    even = bdm(fake_site, "results", folder, "--pivot", "attack,defense")
    assert even.stderr == ""


def test_the_suffix_says_what_a_file_holds(ask, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    begins = {".tex": "%", ".csv": "attack,", ".json": "{", ".md": "**", ".txt": "ASR", ".parquet": "PAR1"}
    for suffix, first in begins.items():
        file = tmp_path / f"table{suffix}"
        assert ask("--pivot", "attack,defense", "--metric", "ASR", "--output", file).returncode == 0
        assert file.read_bytes().startswith(first.encode()), suffix
    ask("--output", tmp_path / "plain.TEX")
    assert r"\begin{tabular}" in (tmp_path / "plain.TEX").read_text(encoding="utf-8")
    message = error_line(ask("--format", "csv", "--output", tmp_path / "other.tex"))
    assert "is a file for latex, and --format says csv" in message and not (tmp_path / "other.tex").exists()


def test_the_head_of_a_grid_names_the_parameter(fake_site: FakeSite, tmp_path: Path) -> None:
    for rate in (0.05, 0.1):
        rows = {"repaired": {"asr": rate}}
        make_run(tmp_path / "runs", "villan", "elijah", 0, rows, params={"poison_rate": rate})
    for column, head in (("poison_rate", "poison_rate=0.05"), ("seed", "seed=0"), ("defense", "elijah")):
        done = bdm(fake_site, "results", tmp_path / "runs", "--pivot", f"attack,{column}", "--format", "markdown")
        assert f"| {head.replace('_', chr(92) + '_')} |" in done.stdout


def test_a_trade_off_names_its_points_and_no_title_is_cut(made: Path) -> None:
    pytest.importorskip("matplotlib", reason="not installed: pip install 'bdm[results]'")
    from bdm_results.plots.heat_map import heat_map
    from bdm_results.plots.rank_diagram import rank_diagram
    from bdm_results.plots.series import curves, trade_off
    from bdm_results.ranking import rank
    from bdm_results.results import Results, Selection
    from bdm_results.summaries import pivot, summarise

    results = Results(made)
    both = summarise(results, ["defense", "attack"], Selection(rows=("final",)))
    asr, acc = results.metric("asr"), results.metric("acc")
    one = Selection(metrics=("asr",), rows=("final",))
    points = trade_off(both, acc, asr)
    texts = [item.get_text() for item in points.axes[0].texts]
    assert texts == ["blend\ntrojdiff\nvillan"] * 3  # each defense's points are in one place
    over = curves(summarise(results, ["defense", "poison_rate"], one), asr)
    ranks = rank_diagram(rank(results, "defense", one)[0], "defense")
    for figure in (points, over, ranks, heat_map(pivot(results, "attack", "defense", one)[0])):
        figure.draw_without_rendering()
        (title,) = [axes._left_title for axes in figure.axes if axes._left_title.get_text()]
        assert title.get_window_extent().x1 <= figure.bbox.x1
