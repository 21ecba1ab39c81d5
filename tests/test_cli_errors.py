"""Bad input on the command line: one clear line on standard error, exit code 2, nothing started."""

import textwrap
from pathlib import Path

import pytest
from cli_process import bdm, bdm_process, error_line, install_toys, python
from fake_site import FakeSite

ATTACK = """
    from bdm_core import Attack, hookimpl
    class Broken(Attack):
        name = "broken"
        {attributes}
        @hookimpl
        def inject_backdoor({arguments}):
            return None
"""


def install_attack(
    site: FakeSite,
    attributes: str = "",
    arguments: str = "self, ctx, model, data",
    tasks: dict[str, str] | None = None,
) -> None:
    source = textwrap.dedent(ATTACK).format(attributes=attributes, arguments=arguments)
    entries = {"bdm.attacks": {"broken": "broken_attack:Broken"}, "bdm.tasks": tasks or {}}
    site.install("bdm-broken", entries, {"broken_attack": source})


@pytest.fixture
def toys(fake_site: FakeSite) -> FakeSite:
    install_toys(fake_site)
    return fake_site


def test_an_unknown_plugin_gets_a_suggestion(toys: FakeSite) -> None:
    message = error_line(bdm_process(toys, "run", "--attack", "toywrod", "--defense", "toylook"))
    assert "no attack 'toywrod'" in message and "did you mean 'toyword'?" in message


def test_two_plugins_of_one_name_are_both_named(toys: FakeSite) -> None:
    toys.install("bdm-other", {"bdm.attacks": {"toyword": "cli_toys:ToyAttack"}})
    message = error_line(bdm(toys, "run", "--attack", "toyword", "--task", "toy-task"))
    assert "choose bdm-other:toyword or bdm-toys:toyword" in message


def test_a_plugin_that_fails_to_import_is_named_with_its_reason(toys: FakeSite) -> None:
    toys.install(
        "bdm-broken", {"bdm.attacks": {"broken": "broken_attack:X"}}, {"broken_attack": "import no_such_module"}
    )
    message = error_line(bdm(toys, "run", "--attack", "broken", "--task", "toy-task"))
    assert "attack:broken of bdm-broken 1.0 cannot be imported" in message and "no_such_module" in message


def test_a_wrong_signature_is_refused_before_the_first_stage(toys: FakeSite) -> None:
    install_attack(toys, arguments="self, ctx, network")
    assert "network" in error_line(bdm(toys, "run", "--attack", "broken", "--task", "toy-task", "--out", "made"))
    assert not (toys.root.parent / "made").exists()


def test_a_defense_that_asks_for_the_secret_is_refused(toys: FakeSite) -> None:
    source = """
        from bdm_core import Defense, hookimpl
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
    assert "written for plugin API 99, this bdm has 2" in error_line(
        bdm(toys, "run", "--attack", "broken", "--task", "toy-task")
    )


def test_an_unknown_parameter_gets_a_suggestion(toys: FakeSite) -> None:
    message = error_line(bdm(toys, "run", "--attack", "toyword", "--set", "attack:toyword.poison_rat=0.1", "--quiet"))
    assert "no parameter 'poison_rat'" in message and "did you mean 'poison_rate'?" in message


def test_a_parameter_out_of_range_shows_its_description(toys: FakeSite) -> None:
    message = error_line(bdm(toys, "run", "--attack", "toyword", "--set", "attack:toyword.poison_rate=7", "--quiet"))
    assert "attack:toyword.poison_rate" in message and "Share of the words" in message


def test_a_task_that_a_plugin_does_not_declare_is_refused(toys: FakeSite) -> None:
    install_attack(toys, attributes='tasks = frozenset({"juggling"})', tasks={"juggling": "broken_attack:Broken"})
    message = error_line(bdm(toys, "run", "--attack", "broken", "--defense", "toylook"))
    assert "juggling" in message and "toy-task" in message


def test_a_plugin_outside_the_allow_list_is_not_loaded(toys: FakeSite) -> None:
    message = error_line(bdm(toys, "run", "--attack", "toyword", BDM_PLUGINS="bdm-something"))
    assert "allow-list" in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run"], "--attack NAME"),
        (["plugins", "list", "--task", "toy-tsk"], "did you mean 'toy-task'?"),
        (["scan", "./nowhere"], "no model './nowhere'"),
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
    assert "cannot use the store" in message and "--out" in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--atack", "toyword"], "No such option: --atack"),
        (["run", "--seed", "many"], "Invalid value for '--seed'"),
        (["run", "--attack"], "--attack"),
        (["run", "--attack", "toyword", "--attack", "toyword"], "--attack is given 2 times: it takes one value"),
        (["run", "--seed", "1", "--attack", "a", "--seed=2"], "--seed is given 2 times"),
        (["plugins", "list", "--task", "a", "--task", "b"], "--task is given 2 times"),
        (["scan"], "Missing argument 'MODEL'"),
        (["rnu"], "Did you mean 'run'?"),
        (["plugins", "shwo"], "Did you mean 'show'?"),
        (["results", "runs", "--format", "xml"], "'xml' is not one of"),
        (["scan", "one", "two"], "two"),
    ],
)
def test_wrong_usage_is_one_line(toys: FakeSite, arguments: list[str], expected: str) -> None:
    message = error_line(bdm_process(toys, *arguments))
    assert expected in message and message.endswith("--help)")


def test_options_that_may_be_repeated_still_may(toys: FakeSite) -> None:
    message = error_line(bdm(toys, "run", "--attack", "nobody", "--metric", "a", "--metric", "b", "--quiet", "--quiet"))
    assert "no attack 'nobody'" in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--attack", "toyword", "--name", "a" * 300], "a" * 300),
        (["run", "--attack", "toyword", "--device", f"cuda:{'9' * 5000}"], "device"),
        (["run", "--attack", "toyword", "--set", "attack:toyword.poison_rate=&a [*a]"], "poison_rate"),
        (["plugins", "new", "attack", "mine", "--task", "toy-task", "--out", "/dev/null"], "cannot write"),
        (["plugins", "new", "attack", "a" * 300, "--task", "toy-task"], "too long"),
    ],
)
def test_odd_values_are_one_line(toys: FakeSite, arguments: list[str], expected: str) -> None:
    assert expected in error_line(bdm(toys, *arguments, *(["--quiet"] if arguments[0] == "run" else [])))


def test_a_configuration_that_expands_or_nests_is_refused_soon(toys: FakeSite, tmp_path: Path) -> None:
    files = {
        "deep": "params: " + "[" * 5000 + "]" * 5000,
        "cycle": "params: &p\n  attack:toyword: *p",
        "bomb": "params: {a: &a [x, x], b: &b [*a, *a], c: [*b, *b]}",
        "list": "- attack",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
        assert f"{name}.yaml" in error_line(bdm(toys, "run", "--config", f"{name}.yaml"))


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback_and_keeps_line_and_exit_code(toys: FakeSite, place: str) -> None:
    command = ["run", "--attack", "nobody"]
    arguments = ["--debug", *command] if place == "before" else [*command, "--debug"]
    result = bdm_process(toys, *arguments)
    assert result.returncode == 2 and "Traceback" in result.stderr and "candidates.py" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: no attack 'nobody'")


def test_a_model_that_is_not_there_is_said_before_torch_is_imported(toys: FakeSite) -> None:
    code = """
import sys
from bdm_cli.main import app
try:
    app(["run", "--attack", "toyword", "--model", "./not-a-model", "--quiet"])
except SystemExit as end:
    print(end.code, "torch" in sys.modules)
"""
    result = python(toys, "-c", code)
    assert result.stdout == "2 False\n"
    assert result.stderr.splitlines() == [
        "error: ./not-a-model does not exist: give a folder, hf:org/name@commit, or a built-in name"
    ]


def test_control_characters_of_strangers_do_not_reach_the_terminal(toys: FakeSite, tmp_path: Path) -> None:
    escape = "\x1b]0;owned\x07\x1b[31m\u202e"
    toys.install("bdm-steering", {"bdm.attacks": {"steering": "x:X"}}, summary=f"nice {escape}")
    (tmp_path / f"{escape}.png").write_text("no model")
    outputs = [
        bdm_process(toys, "plugins", "list"),
        bdm_process(toys, "run", "--attack", f"toy{escape}"),
        bdm_process(toys, "scan", f"./{escape}.png"),
        bdm_process(toys, "run", f"--{escape}"),
        bdm_process(toys, "plugins", "check", "steering"),
        bdm_process(toys, "--debug", "run", "--attack", f"toy{escape}"),
    ]
    for done in outputs:
        assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr)
    assert "\\x1b]0;owned" in outputs[0].stdout and "\\u202e" in outputs[1].stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_that_is_not_utf_8_costs_nothing(toys: FakeSite, encoding: str) -> None:
    command = ("run", "--attack", "toyword", "--no-report", "--device", "cpu", "--quiet", "--out", "runs")
    result = bdm_process(toys, *command, PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stderr
    assert "ASR v" in result.stdout and "v lower is better" in result.stdout
    for arguments in (["results", "runs"], ["results", "--help"], ["plugins", "list"]):
        assert bdm_process(toys, *arguments, PYTHONIOENCODING=encoding).returncode == 0


def test_a_file_name_that_is_no_unicode_is_shown(toys: FakeSite) -> None:
    result = bdm_process(toys, "run", "--attack", "toyword", "--model", "./caf\udce9")
    assert result.returncode == 2 and "caf\\xe9 does not exist" in result.stderr


def test_a_width_of_0_is_80(toys: FakeSite) -> None:
    wide = bdm_process(toys, "plugins", "list").stdout
    assert bdm_process(toys, "plugins", "list", COLUMNS="0").stdout == wide
    assert bdm_process(toys, "plugins", "list", COLUMNS="none").stdout == wide


def test_help_shows_no_value_for_flags_and_no_line_break_of_a_docstring(fake_site: FakeSite) -> None:
    text = bdm(fake_site, "scan", "--help", COLUMNS="200").stdout
    assert "--exit-code" in text and "<bool>" not in text
    assert "1 a stage failed, 130 or 143 interrupted." in text
    for command in ("scan", "sweep"):
        text = bdm(fake_site, command, "--help", COLUMNS="200").stdout
        assert "<bool>" not in text and "classifiers: at most what the reserve holds." in " ".join(text.split())
    like = bdm(fake_site, "import", "--help", COLUMNS="200").stdout
    assert "Model folder (diffusers or classifier) of the same architecture" in like
