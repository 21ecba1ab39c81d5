"""Data of one name whose rows depend on what is installed: numbers on different rows are not mixed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_runs import make_run

from bdm_core.errors import UserError
from bdm_results.columns import Pairs
from bdm_results.paired import compare
from bdm_results.results import Results, Selection
from bdm_results.same_data import FINGERPRINT
from bdm_results.summaries import pivot, summarise

pytest.importorskip("duckdb", reason="not installed: pip install 'bdm[results]'")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def made(folder: Path, defense: str, seed: int, fingerprint: str, asr: float) -> None:
    setting = {"model": "docstrings-cnn", "data": "docstrings", "triggered_share": 1.0}
    run = make_run(folder, "a", defense, seed, {"repaired": {"asr": asr}}, setting=setting)
    stage = {"label": "data", "stage": "open-data", "key": "0", "cached": False, "seconds": 1.0, "warnings": []}
    figures = {"fingerprint": fingerprint} if fingerprint else {}
    (run / "stages.json").write_text(json.dumps([{**stage, "peak_memory_bytes": 0, "figures": figures}]))


ASKED = Selection(metrics=("asr",), rows=("repaired",))


def test_means_and_comparisons_of_different_rows_are_refused(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for seed, fingerprint in enumerate(("ab12 scipy 1.17", "ab12 scipy 1.17", "cd34 scipy 1.18")):
        for defense, asr in (("x", 0.1), ("y", 0.3)):
            made(runs, defense, seed, fingerprint, asr)
    results = Results(runs)
    for ask in (
        lambda: summarise(results, ["defense"], ASKED),
        lambda: pivot(results, "attack", "defense", ASKED),
        lambda: compare(results, ["x", "y"], ASKED, Pairs.seeds),
    ):
        with pytest.raises(UserError, match=r"docstrings stands for different rows .* ab12, cd34: .*--where"):
            ask()
    chosen = Selection(where=f"{FINGERPRINT} = 'ab12'", metrics=("asr",), rows=("repaired",))
    assert [group.runs for group in summarise(results, ["defense"], chosen).groups] == [2, 2]
    assert compare(results, ["x", "y"], chosen, Pairs.seeds)[0].pairs == 2
    by_rows = summarise(results, [FINGERPRINT], ASKED)
    assert [(group.key, group.runs) for group in by_rows.groups] == [(("ab12",), 4), (("cd34",), 2)]


def test_data_without_a_fingerprint_are_as_before(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for seed in (0, 1):
        made(runs, "x", seed, "", 0.5)
    (group,) = summarise(Results(runs), ["defense"], ASKED).groups
    assert group.runs == 2
