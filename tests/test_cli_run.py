"""``bdm run``, ``scan``, ``results`` and ``report`` with toy plugins, from the command line to what is printed."""

import json
from pathlib import Path

import pytest
from cli_process import bdm, bdm_process, install_toys, python
from fake_site import FakeSite

RUN = ("run", "--attack", "toyword", "--defense", "toylook", "--out", "runs", "--no-report", "--device", "cpu")


@pytest.fixture
def toys(fake_site: FakeSite) -> FakeSite:
    install_toys(fake_site)
    return fake_site


def test_a_run_prints_verdict_table_stages_and_command_within_80_columns(toys: FakeSite) -> None:
    result = bdm_process(toys, *RUN, "--quiet", "--set", "attack:toyword.word=shoe")
    assert result.returncode == 0, result.stderr
    assert "backdoored model: BACKDOORED  (toylook, score 1.000 > threshold 0.500, p = 0.01)" in result.stdout
    rows = (line.split() for line in result.stdout.splitlines() if line.strip().startswith(("ASR", "leak")))
    table = {row[0]: row[2:] for row in rows}
    assert table["ASR"] == ["0.000", "±0.000", "1.000", "±0.000", "0.000", "±0.000"]  # under trigger, bad, repaired
    assert table["leak"] == ["0.000", "0.000", "0.000"]
    assert "ASR ↓" in result.stdout and "↓ lower is better" in result.stdout
    command = " ".join(["bdm", *RUN, "--quiet", "--set attack:toyword.word=shoe"])
    assert f"command  {command}" in result.stdout
    assert all(
        len(line) <= 80 for line in result.stdout.splitlines() if not line.startswith(("command", "folder", "model "))
    )
    assert result.stderr.splitlines() == ["warning: toy backdoors fool nobody"]


def test_the_second_run_comes_from_the_store_and_repeats_the_warning(toys: FakeSite) -> None:
    first = json.loads(bdm(toys, *RUN, "--json").stdout)
    again = bdm(toys, *RUN, "--json")
    second = json.loads(again.stdout)
    assert not any(stage["cached"] for stage in first["stages"] if stage["label"] == "backdoored model")
    assert all(stage["cached"] for stage in second["stages"])
    assert [stage["digests"] for stage in first["stages"]] == [stage["digests"] for stage in second["stages"]]
    assert "toy backdoors fool nobody" in again.stderr


def test_json_is_one_document_and_nothing_else(toys: FakeSite) -> None:
    document = json.loads(bdm(toys, *RUN, "--json", "--seed", "3").stdout)
    assert document["record"]["seed"] == 3
    assert document["record"]["detections"]["backdoored"]["verdict"] == "backdoored"
    assert document["report"] is None
    assert {line["row"] for line in document["results"]} == {"clean", "clean under trigger", "backdoored", "repaired"}


def test_a_config_file_gives_options_and_the_command_line_wins(toys: FakeSite, tmp_path: Path) -> None:
    (tmp_path / "cell.yaml").write_text(
        "attack: toyword\ndefense: toylook\nseed: 5\nparams:\n  attack:toyword: {preset: strong, word: hat}\n"
    )
    command = "run --config cell.yaml --seed 6 --out runs --no-report --device cpu --json"
    record = json.loads(bdm(toys, *command.split()).stdout)["record"]
    assert record["seed"] == 6 and record["spec"]["repair"] == "toylook"
    assert record["plugins"]["attack:toyword"]["params"] == {"poison_rate": 1.0, "word": "hat"}


def test_scan_clean_adds_the_verdict_on_the_clean_model(toys: FakeSite) -> None:
    result = bdm(toys, *RUN, "--scan-clean", "--quiet")
    assert "clean model: clean  (toylook, score 0.000 <= threshold 0.500, p = 0.9)" in result.stdout


def test_credentials_on_the_command_line_reach_no_file(toys: FakeSite, tmp_path: Path) -> None:
    bdm_process(toys, *RUN, "--quiet", "--model", "https://someone:pass-phrase@example.org/x")
    result = bdm_process(toys, *RUN, "--quiet", "--set", "attack:toyword.word=hf_abcdefghijklmnopqrstuvwxyz")
    assert result.returncode == 0, result.stderr
    assert "hf_abcdefghijklmnopqrstuvwxyz" not in result.stdout
    commands = [json.loads(path.read_text())["command"] for path in (tmp_path / "runs").glob("*/run.json")]
    assert commands and not any("pass-phrase" in text or "hf_abcdef" in text for text in commands)


def test_purify_has_a_row_and_repair_always_repairs_what_was_found_clean(toys: FakeSite) -> None:
    plain = ("--set", "defense:toylook.word=nothing")  # so that nothing is found
    left = json.loads(bdm(toys, *RUN, *plain, "--purify", "toysieve", "--json").stdout)
    assert "left as it is" in left["record"]["notes"]["repair"]
    rows = {line["row"]: line["value"] for line in left["results"] if line["metric"] == "metric:toyhit.asr"}
    assert (rows["backdoored"], rows["purified"], rows["repaired"]) == (1.0, 0.0, 1.0)
    done = json.loads(bdm(toys, *RUN, *plain, "--repair-always", "--json").stdout)
    assert {line["row"]: line["value"] for line in done["results"] if line["label"] == "ASR"}["repaired"] == 0.0


def test_a_wrong_verdict_says_so(toys: FakeSite) -> None:
    missed = bdm(toys, *RUN, "--quiet", "--set", "defense:toylook.word=nothing").stdout
    assert "backdoored model: MISSED (called clean)" in missed
    alarmed = bdm(toys, *RUN, "--quiet", "--scan-clean", "--set", "defense:toylook.word=cle").stdout
    assert "clean model: FALSE ALARM (called backdoored)" in alarmed


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_result_table_is_legible_at_every_width(toys: FakeSite, columns: int) -> None:
    result = bdm(toys, *RUN, "--purify", "toysieve", "--quiet", COLUMNS=str(columns))
    lines = result.stdout.splitlines()
    start = next(place for place, line in enumerate(lines) if "BACKDOORED" in line)
    table = lines[start + 1 : next(place for place, line in enumerate(lines) if line.startswith("time "))]
    assert max(map(len, table)) <= columns
    text = "\n".join(table)
    assert text.count("±0.000") == 4 and "…" not in text
    for word in ("clean", "trigger", "backdoored", "purified", "repaired", "ASR ↓", "leak ↓"):
        assert word in text


def test_json_stays_one_document_whatever_plugins_print(toys: FakeSite) -> None:
    source = """
        import os, subprocess, sys
        print("at import")
        from bdm_core import hookimpl
        from cli_toys import Look
        class Loud(Look):
            name = "loud"
            @hookimpl
            def repair(self, model):
                print("in Python")
                os.write(1, b"by the system\\n")
                subprocess.run([sys.executable, "-c", "print('in a child')"])
                return model
    """
    entries = {"bdm.defenses": {"loud": "loud:Loud"}, "bdm.tasks": {"toy-task": "loud:Loud"}}
    toys.install("bdm-loud", entries, {"loud": source})
    command = ("run", "--attack", "toyword", "--repair", "loud", "--out", "runs", "--no-report", "--device", "cpu")
    done = bdm_process(toys, *command, "--json")
    assert json.loads(done.stdout)["record"]["status"] == "complete"
    for text in ("at import", "in Python", "by the system", "in a child"):
        assert text in done.stderr
    assert json.loads(bdm_process(toys, "plugins", "show", "loud", "--json").stdout)["name"] == "loud"


def test_ctrl_c_is_one_line_that_says_how_to_continue(toys: FakeSite) -> None:
    code = """
import bdm_core.run.runner
def interrupted(*arguments, **options):
    raise KeyboardInterrupt
bdm_core.run.runner.run = interrupted
from bdm_cli.main import app
app(["run", "--attack", "toyword"])
"""
    result = python(toys, "-c", code)
    assert result.returncode == 130
    assert len(result.stderr.splitlines()) == 1 and "the same command continues" in result.stderr


def test_a_defect_keeps_its_traceback_without_local_variables(toys: FakeSite) -> None:
    code = """
import bdm_core.run.runner
def defective(*arguments, **options):
    pass_phrase = "of local variables only"
    return 1 / 0
bdm_core.run.runner.run = defective
from bdm_cli.main import app
app(["run", "--attack", "toyword"])
"""
    result = python(toys, "-c", code)
    assert result.returncode == 1 and "ZeroDivisionError" in result.stderr
    assert "pass_phrase = 'of" not in result.stderr


def test_a_full_disk_is_one_line(toys: FakeSite) -> None:
    code = """
import errno, bdm_core.run.runner
def full(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device", "runs/x")
bdm_core.run.runner.run = full
from bdm_cli.main import app
app(["run", "--attack", "toyword"])
"""
    result = python(toys, "-c", code)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "error: the disk is full at runs/x: free some space and give the same command again; it continues"
    ]


def test_a_failing_plugin_is_one_line_with_exit_code_1_and_its_traceback_on_request(toys: FakeSite) -> None:
    source = """
        from bdm_core import hookimpl
        from cli_toys import ToyAttack
        class Failing(ToyAttack):
            name = "failing"
            @hookimpl
            def poison_data(self, data):
                return {}["no such key"]
    """
    target = "failing_attack:Failing"
    entries = {"bdm.attacks": {"failing": target}, "bdm.tasks": {"toy-task": target}}
    toys.install("bdm-failing", entries, {"failing_attack": source})
    arguments = ("run", "--attack", "failing", "--out", "runs", "--device", "cpu", "--quiet")
    result = bdm(toys, *arguments)
    assert result.returncode == 1
    reason = "attack:failing failed while making 'poisoned data': KeyError: 'no such key'"
    assert result.stderr.splitlines() == [f"error: {reason} (--debug shows where)"]
    for done in (bdm_process(toys, *arguments, BDM_TRACEBACK="1"), bdm_process(toys, *arguments, "--debug")):
        assert done.returncode == 1 and 'return {}["no such key"]' in done.stderr
        assert done.stderr.splitlines()[-1] == f"error: {reason}"
