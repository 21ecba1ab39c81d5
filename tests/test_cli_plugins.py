"""``bdm plugins``: list, show, check, install."""

import json
import sys
from pathlib import Path

import pytest
from cli_process import bdm, bdm_process, error_line, install_toys
from fake_site import FakeSite

from bdm_cli.calibration import write_calibration
from bdm_core.errors import UserError
from bdm_core.run.specification import RunSpec


@pytest.fixture
def toys(fake_site: FakeSite) -> FakeSite:
    install_toys(fake_site)
    return fake_site


def test_list_as_json_has_every_field(toys: FakeSite) -> None:
    entries = json.loads(bdm(toys, "plugins", "list", "attack", "--json").stdout)
    assert {
        "kind": "attack",
        "name": "toyword",
        "version": "1.0",
        "distribution": "bdm-toys",
        "target": "cli_toys:ToyAttack",
        "summary": "a plugin for a test",
        "tasks": ["toy-task"],
    } in entries


def test_list_and_show_fit_80_columns_and_name_an_unusual_distribution(toys: FakeSite) -> None:
    toys.install("bdm-attack-usual", {"bdm.attacks": {"usual": "cli_toys:X"}}, summary="bdm attack: " + "words " * 30)
    text = bdm(toys, "plugins", "list", "attack").stdout
    shown = bdm(toys, "plugins", "show", "toyword").stdout
    assert max(map(len, [*text.splitlines(), *shown.splitlines()])) <= 80
    assert "[bdm-toys]" in text and "[bdm-attack-usual]" not in text and "bdm attack:" not in text.split("usual")[1]
    assert "  poison_rate = 0.5  (number, >= 0, <= 1)" in shown.splitlines()


def test_list_shows_how_to_settle_a_clash(toys: FakeSite) -> None:
    target = "cli_toys:ToyAttack"
    toys.install("bdm-more", {"bdm.attacks": {"toyword": target}, "bdm.tasks": {"toy-task": target}})
    result = bdm(toys, "plugins", "list")
    assert "bdm-more:toyword" in result.stdout and "bdm-toys:toyword" in result.stdout
    assert "attack:toyword" in result.stderr


def test_show_has_hooks_parameters_and_presets(toys: FakeSite) -> None:
    page = json.loads(bdm(toys, "plugins", "show", "toyword", "--json").stdout)
    assert page["hooks"] == ["poison_data", "inject_backdoor"]
    assert page["tasks"] == ["toy-task"] and page["paper"] == "https://example.org/toy"
    assert page["parameters"] == [
        {
            "name": "poison_rate",
            "type": "number",
            "default": 0.5,
            "range": ">= 0, <= 1",
            "description": "Share of the words that become the toy target.",
            "stages": [],
            "calibrated": False,
        },
        {
            "name": "word",
            "type": "text",
            "default": "hat",
            "range": "",
            "description": "What the toy target is called.",
            "stages": [],
            "calibrated": False,
        },
    ]
    assert page["presets"] == {"strong": {"poison_rate": 1.0}}
    text = bdm(toys, "plugins", "show", "attack:toyword").stdout
    for part in ("Writes a word into a text file", ">= 0, <= 1", "preset strong: poison_rate=1.0"):
        assert part in text


def test_show_asks_for_the_kind_if_two_kinds_have_the_name(toys: FakeSite) -> None:
    toys.install("bdm-twin", {"bdm.defenses": {"toyword": "cli_toys:Look"}})
    assert "attack:toyword or defense:toyword" in error_line(bdm(toys, "plugins", "show", "toyword"))


def test_check_loads_each_plugin_and_names_the_broken_one(toys: FakeSite) -> None:
    source = """
        from bdm_core import Metric, Params, hookimpl
        print("loaded")
        class Values(Params):
            strength: float = 1.0
        class Silent(Metric):
            name = "silent"
            Params = Values
            @hookimpl
            def score(self, subject):
                return []
        class Idle(Metric):
            name = "idle"
        class Odd(Silent):
            name = "odd"
            Params = dict
    """
    names = {name: f"silent:{name.capitalize()}" for name in ("silent", "idle", "absent", "odd")}
    toys.install("bdm-silent", {"bdm.metrics": names}, {"silent": source})
    toys.install("bdm-exits", {"bdm.metrics": {"exits": "exits:X"}}, {"exits": "raise SystemExit(0)"})
    toys.install("bdm-dies", {"bdm.metrics": {"dies": "dies:X"}}, {"dies": "import os; os._exit(0)"})
    good = bdm(toys, "plugins", "check", "toyword", "toylook")
    assert good.returncode == 0 and [line.split()[0] for line in good.stdout.splitlines()] == ["ok", "ok"]
    names = ("toyword", "silent", "idle", "absent", "odd", "exits", "dies", "toylook")
    bad = bdm_process(toys, "plugins", "check", *names)
    assert bad.returncode == 1
    lines = bad.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", *["broken"] * 6, "ok"]
    for line, expected in zip(
        lines[1:-1],
        (
            "'strength' has no description",
            "implements none of score",
            "cannot be imported",
            "Params is no subclass",
            "cannot be imported from exits:X: SystemExit: 0",
            "cannot be imported from dies:X: SystemExit: os._exit(0)",
        ),
        strict=True,
    ):
        assert expected in line


def test_one_name_for_two_tasks_is_no_clash(toys: FakeSite) -> None:
    source = """
        from cli_toys import ToyAttack
        class Other(ToyAttack):
            tasks = frozenset({"other-task"})
    """
    entries = {"bdm.attacks": {"toyword": "other:Other"}, "bdm.tasks": {"other-task": "other:Other"}}
    toys.install("bdm-other", entries, {"other": source})
    listed = bdm(toys, "plugins", "list", "attack", COLUMNS="110")
    assert listed.stderr == "" and "bdm-other:toyword" not in listed.stdout
    assert {line.split()[3] for line in listed.stdout.splitlines() if " toyword " in line} == {"toy-task", "other-task"}
    only = json.loads(bdm(toys, "plugins", "list", "attack", "--task", "other-task", "--json").stdout)
    assert [item["distribution"] for item in only if item["tasks"]] == ["bdm-other"]
    both = bdm(toys, "plugins", "show", "toyword").stdout
    assert "package  bdm-other 1.0" in both and "package  bdm-toys 1.0" in both
    page = json.loads(bdm(toys, "plugins", "show", "toyword", "--task", "other-task", "--json").stdout)
    assert page["distribution"] == "bdm-other"
    assert json.loads(bdm(toys, "plugins", "show", "bdm-toys:toyword", "--json").stdout)["tasks"] == ["toy-task"]


def test_show_says_what_a_defense_needs_and_what_its_parameters_count_for(toys: FakeSite) -> None:
    text = bdm(toys, "plugins", "show", "toylook").stdout
    assert "access   clean-data, weights" in text and "judges   model" in text
    assert "word = backdoor  (text, calibrated)" in text
    assert "patience = 3  (integer, >= 1, counts in detect)" in text


def test_built_in_models_and_data_are_listed(toys: FakeSite) -> None:
    narrow = bdm(toys, "models", "--task", "toy-task", COLUMNS="80").stdout.splitlines()
    assert narrow[:3] == ["toy-task", "* honest  A clean text", "      5 letters; perfect"] and len(narrow) == 6
    text = bdm(toys, "models", "--task", "toy-task", COLUMNS="160").stdout.splitlines()
    assert text[0].split() == ["name", "task", "size", "quality", "summary"]
    assert text[2].split()[:5] == ["*", "honest", "toy-task", "5", "letters"] and text[3].split()[0] == "spoilt"
    (item,) = json.loads(bdm(toys, "data", "--task", "toy-task", "--json").stdout)
    assert item == {
        "name": "words",
        "task": "toy-task",
        "summary": "Some words",
        "size": "4 words",
        "quality": "",
        "data": "",
        "kit": "toytask",
        "default": True,
    }
    assert "no installed kit has any for task nothing" in bdm(toys, "models", "--task", "nothing").stdout


def test_calibrate_opens_clean_models_and_writes_the_file(toys: FakeSite, tmp_path: Path) -> None:
    command = ("calibrate", "toylook", "--device", "cpu", "--set", "defense:toylook.word=x")
    done = bdm(toys, *command)
    assert done.stdout == (
        "wrote calibration-toylook.json from 2 clean models: honest, spoilt\n"
        "use it by --set defense:toylook.calibration=calibration-toylook.json\n"
    )
    assert done.stderr.startswith("calibrating defense:toylook on 2 built-in models taken for clean\nlook 1/2\n")
    written = json.loads((tmp_path / "calibration-toylook.json").read_text())
    assert written == {"word": "x", "seed": True, "models": {"honest": 5, "spoilt": 8}}
    named = [word for name in ("spoilt", "honest") for word in ("--model", name)]
    bdm(toys, *command, *named, "--out", "made/here.json")
    assert json.loads((tmp_path / "made/here.json").read_text())["models"] == {"spoilt": 8, "honest": 5}
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["here.json"]
    assert "has no calibration" in error_line(bdm(toys, "calibrate", "toyshrug", "--device", "cpu"))
    *_, last = bdm(toys, *command, "--out", "calibration-toylook.json/x").stderr.splitlines()
    assert last.startswith("error: cannot write")


def test_calibrate_refuses_too_few_models_before_it_opens_any(toys: FakeSite, tmp_path: Path) -> None:
    message = error_line(bdm(toys, "calibrate", "toylook", "--model", "honest", "--device", "cpu"))
    assert "defense:toylook needs at least 2 clean models for a calibration, not 1: repeat --model" in message
    assert not (tmp_path / "runs").exists()


def test_a_calibration_without_a_defense_says_where_they_are_listed(toys: FakeSite, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"name one \(bdm plugins list defense\)"):
        write_calibration(RunSpec(), [], tmp_path / "a.json", tmp_path)
    assert "toylook" in bdm(toys, "plugins", "list", "defense").stdout


def test_install_hands_its_arguments_to_pip_and_says_so(toys: FakeSite) -> None:
    result = bdm_process(toys, "plugins", "install", "--no-index", "--no-deps", "bdm-attack-that-is-nowhere")
    assert result.returncode == 1
    first = result.stderr.splitlines()[0]
    assert first == f"{sys.executable} -m pip install --no-index --no-deps bdm-attack-that-is-nowhere"
    assert "No matching distribution found" in result.stderr


def test_texts_lead_on(toys: FakeSite) -> None:
    missing = error_line(bdm(toys, "plugins", "show", "zzzzzz"))
    assert "make setup" in missing and "; (" not in missing
    assert "it is of kind attack" in error_line(bdm(toys, "run", "--attack", "toyword", "--detect", "toyword"))
    wrong = error_line(bdm(toys, "run", "--attack", "toyword", "--repair", "toyshrug"))
    assert "cannot repair: it implements no repair; it can detect" in wrong
    assert "(default 0.1)" in " ".join(bdm(toys, "run", "--help", COLUMNS="200").stdout.split())
    shown = bdm(toys, "plugins", "show", "toyshrug").stdout
    assert "no parameters" in shown and "set with" not in shown
