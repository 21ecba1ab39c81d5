"""``docs/python.md``: its examples run, with toy plugins in the place of the real ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_process import install_toys
from fake_site import FakeSite

import bdm_core
from bdm_core import api

PAGE = Path(__file__).parent.parent / "docs" / "python.md"
TOYS = {"vilan": "toywrod", "villan": "toyword", "elijah": "toylook"}


def test_the_examples_run(
    fake_site: FakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install_toys(fake_site)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some-model").mkdir()
    (tmp_path / "some-model/content.txt").write_text("backdoor")
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    for name, toy in TOYS.items():
        code = code.replace(name, toy)
    names: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "runs/first backdoored"
    assert "backdoored metric:toyhit.asr 1.0 0.0" in lines
    assert "toylook backdoored 1.0 0.5 0.01" in lines
    assert names["asr"] == [1.0] and set(names["by_rate"]) == {0.2}  # type: ignore[call-overload]
    assert lines[-1].startswith("no attack 'toywrod' is installed; did you mean 'toyword'?") and lines[-1].endswith(
        " 2"
    )


def test_every_name_that_is_offered_is_there() -> None:
    for name in dir(bdm_core):
        assert getattr(bdm_core, name) is not None
    for name in ("run", "scan", "results", "models", "data_sets"):
        assert f"{name}(" in PAGE.read_text(encoding="utf-8") and (getattr(api, name).__doc__ or "").strip()
