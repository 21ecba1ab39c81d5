"""``bdm results`` and ``bdm plot`` at the command line: tables of any width, formats, errors in one line."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from cli_process import Done, bdm, error_line
from fake_site import FakeSite
from made_runs import make_grid, make_run

pytest.importorskip("duckdb", reason="not installed: pip install 'bdm[results]'")
GRID = {
    (attack, defense): [level + 0.05 * number + 0.01 * seed for seed in range(3)]
    for number, attack in enumerate(("attack2", "attack10", "blend"))
    for defense, level in (("elijah", 0.1), ("fine-tune", 0.3), ("strip", 0.5))
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_grid(tmp_path_factory.mktemp("made") / "runs", GRID)


@pytest.fixture
def ask(fake_site: FakeSite, made: Path):  # type: ignore[no-untyped-def]
    def command(*arguments: object, **variables: str) -> Done:
        return bdm(fake_site, "results", made, *arguments, **variables)

    return command


def test_a_grid_has_every_number_once_at_any_width(ask) -> None:  # type: ignore[no-untyped-def]
    for width in (40, 60, 80, 120):
        text = ask("--pivot", "attack,defense", "--metric", "ASR", COLUMNS=str(width)).stdout
        assert max(map(len, text.splitlines())) <= width
        for (attack, defense), seeds in GRID.items():
            assert text.count(f"{sum(seeds) / 3:.3f} ±0.025 (3)") >= 1, (attack, defense)
        places = [text.index(name) for name in ("attack2", "attack10", "blend")]
        assert places == sorted(places)
        assert "95% t interval over seeds" in " ".join(text.split())


def test_groups_in_every_format(ask, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    arguments = ("--group-by", "defense", "--metric", "ASR", "--row", "repaired", "--where", "attack = 'blend'")
    (row, *_) = csv.DictReader(io.StringIO(ask(*arguments, "--format", "csv").stdout))
    assert row["defense"] == "elijah" and float(row["ASR ↓"]) == pytest.approx(0.21) and row["ASR ↓ n"] == "3"
    assert float(row["ASR ↓ low"]) == pytest.approx(0.21 - 4.302653 * 0.01 / 3**0.5)
    ((table), *_) = json.loads(ask(*arguments, "--format", "json").stdout)["tables"]
    assert table["rows"][0]["ASR ↓"]["interval"][0] == pytest.approx(float(row["ASR ↓ low"]))
    markdown = ask(*arguments, "--format", "markdown").stdout
    assert "| elijah | 0.210 ±0.025 (3) |" in markdown and "|---|---:|" in markdown
    latex = ask(*arguments, "--format", "latex").stdout
    assert r"elijah & 0.210 $\pm$0.025 (3) \\" in latex and r"ASR $\downarrow$" in latex
    file = tmp_path / "out.parquet"
    assert ask(*arguments, "--format", "parquet", "--output", file).returncode == 0
    import pandas

    frame = pandas.read_parquet(file)
    assert frame["ASR ↓"].tolist() == pytest.approx([0.21, 0.41, 0.61]) and frame["ASR ↓ n"].tolist() == [3, 3, 3]
    assert "needs --output FILE" in error_line(ask(*arguments, "--format", "parquet"))
    assert ask(*arguments, "--output", tmp_path / "out.txt").stdout == ""
    assert "0.210 ±0.025 (3)" in (tmp_path / "out.txt").read_text(encoding="utf-8")


def test_the_plain_table_is_the_same_with_and_without_the_index(ask, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    for arguments in (["--format", "json"], ["--format", "csv"], ["--by-seed", "--format", "json"], ["--all"]):
        quick = ask(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr("bdm_results.engines.installed", lambda *modules: False)
            plain = ask(*arguments)
        if "json" in arguments:
            assert approximately(json.loads(quick.stdout)) == approximately(json.loads(plain.stdout))
        elif "csv" in arguments:
            assert len(quick.stdout.splitlines()) == len(plain.stdout.splitlines())
        else:
            assert quick.stdout == plain.stdout


def approximately(value):  # type: ignore[no-untyped-def]
    if isinstance(value, float):
        return round(value, 12)
    if isinstance(value, dict):
        return {key: approximately(item) for key, item in value.items()}
    return [approximately(item) for item in value] if isinstance(value, list) else value


def test_comparison_and_ranks_say_what_they_are(ask) -> None:  # type: ignore[no-untyped-def]
    text = " ".join(ask("--compare", "elijah,strip", COLUMNS="120").stdout.split())
    assert "no difference shown" in text and "3 pairs can give no p below 0.25" in text and "Wilcoxon" in text
    text = " ".join(
        ask("--compare", "elijah,strip", "--pairs", "seeds", "--metric", "ASR", COLUMNS="120").stdout.split()
    )
    assert "seeds of one setting are no independent settings" in text and "elijah" in text.split("────")[-1]
    text = " ".join(ask("--ranks", "defense", "--metric", "attack-success").stdout.split())
    assert "ranks by ASR ↓" in text and "3 settings" in text and "critical difference 1.91" in text


WRONG = {
    ("--where", "atack = 'blend'"): "did you mean 'attack'?",
    ("--where", "attack = 'nobody'"): "no numbers are left",
    ("--metric", "ars"): "no metric 'ars': did you mean 'asr'?",
    ("--metric", "accc"): "did you mean 'acc'?",
    ("--row", "repared"): "did you mean 'repaired'?",
    ("--group-by", "atttack"): "did you mean 'attack'?",
    ("--group-by", ""): "name at least one column",
    ("--pivot", "attack"): "--pivot takes two columns",
    ("--pivot", "attack,attack"): "two different columns",
    ("--compare", "elijah"): "a comparison is of two defenses",
    ("--compare", "elijah,stripp"): "did you mean 'strip'?",
    ("--ranks", "defence"): "did you mean 'defense'?",
    ("--ranks", "defense", "--pivot", "attack,defense"): "choose one of them",
    ("--group-by", "attack", "--by-seed"): "--by-seed does not go with --group-by",
    ("--confidence", "95"): "between 0 and 1",
    ("--output", "nowhere/x.csv", "--format", "csv"): "cannot write nowhere/x.csv",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_options_are_one_line(ask, arguments: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    assert WRONG[arguments] in error_line(ask(*arguments))


def test_what_is_missing_is_named(ask, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, "duckdb", None)
    line = error_line(ask("--pivot", "attack,defense"))
    assert "this needs duckdb" in line and "pip install 'bdm[results]'" in line


def test_nothing_in_a_table_runs_where_it_is_opened(fake_site: FakeSite, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for seed in range(2):
        make_run(
            runs, "=cmd|' /C calc'!A0", "\x1b[31m|`<b>$x_\\input{y}", seed, {"repaired": {"asr": 0.5}}, name=f"r{seed}"
        )
    for arguments in ([], ["--pivot", "attack,defense"], ["--group-by", "attack,defense"], ["--compare", "a,=1"]):
        for form in ("table", "csv", "markdown", "latex", "json"):
            done = bdm(fake_site, "results", runs, *arguments, "--format", form)
            assert "\x1b" not in done.stdout + done.stderr
            if form == "csv":
                cells = [cell for row in csv.reader(io.StringIO(done.stdout)) for cell in row]
                assert not any(cell[:1] in ("=", "+", "-", "@") for cell in cells)
            if form == "markdown":
                assert "<b>" not in done.stdout.replace("\\<b\\>", "")
            if form == "latex":
                assert "\\input" not in done.stdout


@pytest.mark.parametrize("kind", ["heat-map", "trade-off", "ranks"])
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_plots_are_written(fake_site: FakeSite, made: Path, tmp_path: Path, kind: str, suffix: str) -> None:
    file = tmp_path / f"plot{suffix}"
    done = bdm(fake_site, "plot", made, "--kind", kind, "--output", file)
    assert done.returncode == 0, done.stderr
    assert file.read_bytes()[:4] == {".png": b"\x89PNG", ".svg": b"<?xm", ".pdf": b"%PDF"}[suffix]
    first = file.read_bytes()
    bdm(fake_site, "plot", made, "--kind", kind, "--output", file)
    assert file.read_bytes() == first or suffix == ".pdf"


BAD_PLOTS = {
    ("--output", "x.gif"): "a plot is a .png, .svg or .pdf file",
    ("--kind", "curves"): "needs --over COLUMN",
    ("--kind", "curves", "--over", "poison_rat"): "did you mean",
    ("--kind", "trade-off", "--metric", "ASR"): "takes two metrics",
    ("--metric", "ASR", "--metric", "ACC"): "takes one --metric",
    ("--pivot", "attack"): "--pivot takes two columns",
    ("--where", "attack = 'nobody'"): "no numbers are left",
    ("--output", "nowhere/x.png"): "cannot write nowhere/x.png",
}


@pytest.mark.parametrize("arguments", BAD_PLOTS, ids=" ".join)
def test_wrong_plots_are_one_line(fake_site: FakeSite, made: Path, arguments: tuple[str, ...]) -> None:
    assert BAD_PLOTS[arguments] in error_line(bdm(fake_site, "plot", made, *arguments))
