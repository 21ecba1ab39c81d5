"""``docs/results.md`` and the notebook: their code runs, what they name is there."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from cli_process import install_toys
from fake_site import FakeSite
from made_runs import make_grid

from bdm_results.columns import Columns

pytest.importorskip("duckdb", reason="not installed: pip install 'bdm[results]'")
DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "results.md").read_text(encoding="utf-8")
TOYS = {"villan": "toyword", "elijah": "toylook"}


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        (attack, defense): [level + 0.02 * number + 0.01 * seed for seed in range(4)]
        for number, attack in enumerate(("villan", "trojdiff", "baddiffusion"))
        for defense, level in (("elijah", 0.1), ("terd", 0.2), ("fine-tune", 0.6))
    }
    make_grid(tmp_path / "runs", values)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), names)
    assert len(names["means"]) == 9 and len(names["frame"]) == 9 * 3 * 4  # type: ignore[arg-type]
    assert names["found"].pairs == 3 and names["found"].difference.mean == pytest.approx(0.1)  # type: ignore[attr-defined]
    assert list(names["ranking"].ranks) == ["elijah", "terd", "fine-tune"]  # type: ignore[attr-defined]
    assert (tmp_path / "heat-map.png").stat().st_size > 1000


def test_the_notebook_runs(fake_site: FakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_toys(fake_site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(fake_site.root), *sys.path]))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some-model").mkdir()
    (tmp_path / "some-model/content.txt").write_text("backdoor")
    notebook = json.loads((DOCS / "results.ipynb").read_text(encoding="utf-8"))
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    for name, toy in TOYS.items():
        code = code.replace(name, toy)
    names: dict[str, object] = {}
    exec(compile(code, "results.ipynb", "exec"), names)
    means = names["means"].set_index("defense", drop=False)  # type: ignore[attr-defined]
    assert means["mean"].tolist() == [1.0, 0.0] and means["n"].tolist() == [2, 2]
    assert set(names["frame"]["poison_rate"]) == {0.5}  # type: ignore[index]
    assert len(names["done"].complete) == 4 and not names["done"].failed  # type: ignore[attr-defined]
    assert names["scanned"].verdict == "backdoored"  # type: ignore[attr-defined]
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "heat-map.png").read_bytes()[:4] == b"\x89PNG"


def test_every_column_is_on_the_page() -> None:
    table = PAGE.partition("| column | meaning |")[2].partition("\n\n")[0]
    assert set(Columns({}).known) == set(re.findall(r"`([a-z_]+)`", table)) - {"elijah", "none"}


def test_every_kind_of_plot_and_format_is_on_the_page() -> None:
    from bdm_cli.analysis_options import Format
    from bdm_cli.plot import Kind

    assert all(f"| `{kind}` |" in PAGE for kind in Kind)
    assert all(f"`{form}`" in PAGE or f"--format {form}" in PAGE for form in Format)
