"""``bdm plugins``: list, show, check, install."""

import json
import sys

import pytest
from cli_process import bdm, bdm_process, error_line, install_toys
from fake_site import FakeSite


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
        "target": "cli_toys:Attack",
        "summary": "a plugin for a test",
    } in entries


def test_list_and_show_fit_80_columns_and_name_an_unusual_distribution(toys: FakeSite) -> None:
    toys.install("bdm-attack-usual", {"bdm.attacks": {"usual": "cli_toys:X"}}, summary="bdm attack: " + "words " * 30)
    text = bdm(toys, "plugins", "list", "attack").stdout
    shown = bdm(toys, "plugins", "show", "toyword").stdout
    assert max(map(len, [*text.splitlines(), *shown.splitlines()])) <= 80
    assert "[bdm-toys]" in text and "[bdm-attack-usual]" not in text and "bdm attack:" not in text.split("usual")[1]
    assert "  strength = 0.5  (number, >= 0, <= 1)" in shown.splitlines()


def test_list_shows_how_to_settle_a_clash(toys: FakeSite) -> None:
    toys.install("bdm-more", {"bdm.attacks": {"toyword": "cli_toys:Attack"}})
    result = bdm(toys, "plugins", "list")
    assert "bdm-more:toyword" in result.stdout and "bdm-toys:toyword" in result.stdout
    assert "attack:toyword" in result.stderr


def test_show_has_hooks_parameters_and_presets(toys: FakeSite) -> None:
    page = json.loads(bdm(toys, "plugins", "show", "toyword", "--json").stdout)
    assert page["hooks"] == ["poison_data", "inject_backdoor"]
    assert page["tasks"] == ["toy-task"] and page["paper"] == "https://example.org/toy"
    assert page["parameters"] == [
        {"name": "strength", "type": "number", "default": 0.5, "range": ">= 0, <= 1",
         "description": "How strong the toy backdoor is."},
        {"name": "word", "type": "text", "default": "hat", "range": "",
         "description": "What the toy target is called."},
    ]  # fmt: skip
    assert page["presets"] == {"strong": {"strength": 1.0}}
    text = bdm(toys, "plugins", "show", "attack:toyword").stdout
    for part in ("Writes a word into a text file", ">= 0, <= 1", "preset strong: strength=1.0"):
        assert part in text


def test_show_asks_for_the_kind_if_two_kinds_have_the_name(toys: FakeSite) -> None:
    toys.install("bdm-twin", {"bdm.defenses": {"toyword": "cli_toys:Defense"}})
    assert "attack:toyword or defense:toyword" in error_line(bdm(toys, "plugins", "show", "toyword"))


def test_check_loads_each_plugin_and_names_the_broken_one(toys: FakeSite) -> None:
    source = """
        from bdm_core.plugin import Field, hookimpl, Metric, Params
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
    """
    entries = {"bdm.metrics": {"silent": "silent:Silent", "idle": "silent:Idle", "absent": "silent:Absent"}}
    toys.install("bdm-silent", entries, {"silent": source})
    good = bdm(toys, "plugins", "check", "toyword", "toylook")
    assert good.returncode == 0 and [line.split()[0] for line in good.stdout.splitlines()] == ["ok", "ok"]
    bad = bdm(toys, "plugins", "check", "toyword", "silent", "idle", "absent")
    assert bad.returncode == 1
    lines = bad.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", "attack:toyword"], ["broken", "metric:silent"], ["broken", "metric:idle"], ["broken", "metric:absent"]
    ]  # fmt: skip
    assert "'strength' has no description" in lines[1]
    assert "implements none of score" in lines[2]
    assert "cannot be imported" in lines[3]


def test_install_hands_its_arguments_to_pip_and_says_so(toys: FakeSite) -> None:
    result = bdm_process(toys, "plugins", "install", "--no-index", "--no-deps", "bdm-attack-that-is-nowhere")
    assert result.returncode == 1
    first = result.stderr.splitlines()[0]
    assert first == f"{sys.executable} -m pip install --no-index --no-deps bdm-attack-that-is-nowhere"
    assert "No matching distribution found" in result.stderr
