"""Bad input on the command line: one clear line on standard error, exit code 2, nothing started."""

import textwrap
from pathlib import Path

import pytest
from cli_process import bdm, bdm_process, error_line, install_toys
from fake_site import FakeSite

ATTACK = """
    from bdm_core.plugin import Attack, Defense, hookimpl
    class Broken(Attack):
        name = "broken"
        {attributes}
        @hookimpl
        def inject_backdoor({arguments}):
            return None
"""


def install_attack(site: FakeSite, attributes: str = "", arguments: str = "self, ctx, model, data") -> None:
    source = textwrap.dedent(ATTACK).format(attributes=attributes, arguments=arguments)
    site.install("bdm-broken", {"bdm.attacks": {"broken": "broken_attack:Broken"}}, {"broken_attack": source})


@pytest.fixture
def toys(fake_site: FakeSite) -> FakeSite:
    install_toys(fake_site)
    return fake_site


def test_an_unknown_plugin_gets_a_suggestion(toys: FakeSite) -> None:
    message = error_line(bdm_process(toys, "run", "--attack", "toywrod", "--defense", "toylook"))
    assert "no attack 'toywrod'" in message and "did you mean 'toyword'?" in message


def test_two_plugins_of_one_name_are_both_named(toys: FakeSite) -> None:
    toys.install("bdm-other", {"bdm.attacks": {"toyword": "cli_toys:Attack"}})
    message = error_line(bdm(toys, "run", "--attack", "toyword"))
    assert "choose bdm-other:toyword or bdm-toys:toyword" in message


def test_a_plugin_that_fails_to_import_is_named_with_its_reason(toys: FakeSite) -> None:
    toys.install(
        "bdm-broken", {"bdm.attacks": {"broken": "broken_attack:X"}}, {"broken_attack": "import no_such_module"}
    )
    message = error_line(bdm(toys, "run", "--attack", "broken"))
    assert "attack:broken of bdm-broken 1.0 cannot be imported" in message and "no_such_module" in message


def test_a_wrong_signature_is_refused_before_the_first_stage(toys: FakeSite) -> None:
    install_attack(toys, arguments="self, ctx, network")
    assert "network" in error_line(bdm(toys, "run", "--attack", "broken", "--out", "made"))
    assert not (toys.root.parent / "made").exists()


def test_a_defense_that_asks_for_the_secret_is_refused(toys: FakeSite) -> None:
    source = """
        from bdm_core.plugin import Plugin, hookimpl
        class Peeking(Defense):
            name = "peeking"
            @hookimpl
            def detect(self, model, secret):
                return None
    """
    toys.install("bdm-peeking", {"bdm.defenses": {"peeking": "peeking:Peeking"}}, {"peeking": source})
    message = error_line(bdm(toys, "run", "--attack", "toyword", "--defense", "peeking"))
    assert "a defense never sees the attack's secret" in message


def test_another_version_of_the_interface_is_refused(toys: FakeSite) -> None:
    install_attack(toys, attributes="api = 99")
    assert "written for plugin API 99, this bdm has 1" in error_line(bdm(toys, "run", "--attack", "broken"))


def test_an_unknown_parameter_gets_a_suggestion(toys: FakeSite) -> None:
    message = error_line(bdm(toys, "run", "--attack", "toyword", "--set", "attack:toyword.strenght=0.1"))
    assert "no parameter 'strenght'" in message and "did you mean 'strength'?" in message


def test_a_parameter_out_of_range_shows_its_description(toys: FakeSite) -> None:
    message = error_line(bdm(toys, "run", "--attack", "toyword", "--set", "attack:toyword.strength=7"))
    assert "attack:toyword.strength" in message and "How strong the toy backdoor is." in message


def test_a_task_that_a_plugin_does_not_declare_is_refused(toys: FakeSite) -> None:
    install_attack(toys, attributes='tasks = frozenset({"juggling"})')
    message = error_line(bdm(toys, "run", "--attack", "broken", "--defense", "toylook"))
    assert "juggling" in message and "toy-task" in message


def test_a_plugin_outside_the_allow_list_is_not_loaded(toys: FakeSite) -> None:
    message = error_line(bdm(toys, "run", "--attack", "toyword", BDM_PLUGINS="bdm-something"))
    assert "allow-list" in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run"], "--attack NAME"),
        (["run", "--attack", "toyword", "--set", "strength=1"], "KIND:NAME.PARAMETER=VALUE"),
        (["run", "--attack", "toyword", "--seed", "-1"], "seed"),
        (["run", "--config", "missing.yaml"], "cannot read missing.yaml"),
        (["results", "nowhere"], "no runs in nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["import", "nowhere.pt", "--out", "made"], "nowhere.pt does not exist"),
        (["plugins", "show", "toywrod"], "did you mean 'toyword'?"),
        (["plugins", "list", "toys"], "no kind 'toys'"),
        (["plugins", "new", "attack", "Not_A_Name"], "a-z"),
        (["plugins", "new", "sculpture", "mine"], "sculpture"),
    ],
)
def test_other_wrong_input(toys: FakeSite, arguments: list[str], expected: str) -> None:
    assert expected in error_line(bdm(toys, *arguments))


def test_an_output_folder_that_cannot_be_made_is_one_line(toys: FakeSite, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    message = error_line(bdm(toys, "run", "--attack", "toyword", "--out", "file/runs", "--quiet", "--device", "cpu"))
    assert "cannot write to the store" in message and "--out" in message


def test_a_wrong_option_is_a_usage_error(toys: FakeSite) -> None:
    result = bdm(toys, "run", "--atack", "toyword")
    assert result.returncode == 2 and "--atack" in result.stderr and "Traceback" not in result.stderr
