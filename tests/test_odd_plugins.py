"""A plugin that tampers with the process it runs in: streams, threads, its end, what a library warns of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_site import FakeSite
from test_odd_surroundings import TOY, bdm, detector

from bdm_core.discovery.candidates import find
from bdm_core.plugin import Defense


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        ("sys.stdout.close()", 0),
        ("sys.stderr.close()", 0),
        ("sys.stderr = None", 0),
        ("sys.setrecursionlimit(60)", 0),
        ("atexit.register(lambda: os._exit(0)); raise ValueError('lost')", 1),
        ("os.execv('/bin/true', ['true'])", 1),
        ("os.execvp('true', ['true'])", 1),
    ],
)
def test_what_a_plugin_does_to_the_process_costs_no_answer(
    tmp_path: Path, fake_site: FakeSite, code: str, ends: int
) -> None:
    detector(fake_site, f"import atexit, sys; {code}")
    arguments = ("scan", "tiny", "--task", "toy", "--detect", "odd", "--device", "cpu")
    found = bdm(*arguments, "--json", "--no-report", "--out", str(tmp_path / "runs"))
    assert found.returncode == ends
    assert "Traceback" not in found.stderr
    if ends:
        assert found.stderr.startswith("error: defense:odd failed") and len(found.stderr.splitlines()) == 1
    else:
        assert json.loads(found.stdout)["verdict"] == "clean"


def test_a_thread_that_does_not_end_keeps_no_command(tmp_path: Path, fake_site: FakeSite) -> None:
    detector(fake_site, "threading.Thread(target=time.sleep, args=(600,)).start()")
    arguments = ("scan", "tiny", "--task", "toy", "--detect", "odd", "--device", "cpu")
    quick = "import bdm_cli.start; bdm_cli.start.PATIENCE = 0.1"
    found = bdm(*arguments, "--json", "--no-report", "--out", str(tmp_path / "runs"), before=quick)
    assert (found.returncode, json.loads(found.stdout)["verdict"]) == (0, "clean")
    assert found.stderr.startswith("warning: threads")
    other = bdm(*arguments, "--detect", "nobody", "--json", "--out", str(tmp_path / "runs"), before=quick)
    assert other.returncode == 2


def test_a_warning_of_a_library_gives_the_terminal_no_command(tmp_path: Path, fake_site: FakeSite) -> None:
    detector(fake_site, "import warnings; warnings.warn('\\\\x1b[31m')")
    found = bdm("scan", "tiny", "--task", "toy", "--detect", "odd", "--device", "cpu", "--out", str(tmp_path / "runs"))
    assert "\x1b" not in found.stderr and "\\x1b[31m" in found.stderr


def test_a_bare_plugin_gets_the_base_of_its_kind(fake_site: FakeSite) -> None:
    source = """
        from bdm_core.plugin import Plugin, hookimpl

        class Bare(Plugin):
            kind, name = "defense", "bare"

            @hookimpl
            def repair(self, model):
                print("not for standard output")
                return model
    """
    fake_site.install("bdm-bare", {"bdm.defenses": {"bare": "bare_defense:Bare"}}, {"bare_defense": source})
    plugin = find("defense", "bdm-bare:bare").load()
    assert isinstance(plugin, Defense) and plugin.access == Defense.access
    assert (type(plugin).__name__, type(plugin).__module__) == ("Bare", "bare_defense")
    assert plugin.repair("the model") == "the model"
