"""``bdm run``, ``scan``, ``results`` and ``report`` with toy plugins, from the command line to what is printed."""

import csv
import io
import json
from pathlib import Path

import pytest
from cli_process import bdm, bdm_process, error_line, install_toys, python
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
    table = {
        line.split()[0]: line.split()[2:]
        for line in result.stdout.splitlines()
        if line.strip().startswith(("ASR", "leak"))
    }
    assert table["ASR"] == [
        "0.000",
        "±0.000",
        "1.000",
        "±0.000",
        "0.000",
        "±0.000",
    ]  # under trigger, backdoored, repaired
    assert table["leak"] == ["0.000", "0.000", "0.000"]
    assert "ASR ↓" in result.stdout
    command = " ".join(["bdm", *RUN, "--quiet", "--set attack:toyword.word=shoe"])
    assert f"command  {command}" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if not line.startswith(("command", "folder")))
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
    arguments = (
        "run",
        "--config",
        "cell.yaml",
        "--seed",
        "6",
        "--out",
        "runs",
        "--no-report",
        "--device",
        "cpu",
        "--json",
    )
    record = json.loads(bdm(toys, *arguments).stdout)["record"]
    assert record["seed"] == 6 and record["spec"]["repair"] == "toylook"
    assert record["plugins"]["attack:toyword"]["params"] == {"strength": 1.0, "word": "hat"}


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


def model_folder(parent: Path, name: str, text: str) -> Path:
    folder = parent / name
    folder.mkdir()
    (folder / "content.txt").write_text(text)
    return folder


def test_scan_judges_a_folder(toys: FakeSite, tmp_path: Path) -> None:
    bad, good = model_folder(tmp_path, "bad", "backdoor"), model_folder(tmp_path, "good", "honest")
    arguments = ("--defense", "toylook", "--task", "toy-task", "--no-report", "--device", "cpu", "--quiet")
    found = bdm(toys, "scan", bad, *arguments)
    assert found.returncode == 0
    assert found.stdout.startswith(f"{bad}: BACKDOORED  (toylook, score 1.000 > threshold 0.500, p = 0.01)")
    assert bdm(toys, "scan", bad, *arguments, "--exit-code").returncode == 3
    assert bdm(toys, "scan", good, *arguments, "--exit-code").returncode == 0
    document = json.loads(bdm(toys, "scan", good, *arguments, "--json").stdout)
    assert document["scans"][0]["record"]["detections"]["model"]["verdict"] == "clean"


def test_scan_refuses_an_unknown_defense(toys: FakeSite) -> None:
    assert "did you mean 'toylook'?" in error_line(bdm(toys, "scan", "x", "--defense", "toylok"))


def test_results_average_over_seeds(toys: FakeSite) -> None:
    for seed in (0, 1):
        assert bdm(toys, *RUN, "--quiet", "--seed", seed).returncode == 0
    assert bdm(toys, *RUN, "--quiet", "--seed", 1, "--scan-clean").returncode == 0  # the same seed again counts once
    rows = list(csv.DictReader(io.StringIO(bdm(toys, "results", "runs", "--format", "csv").stdout)))
    assert [(row["row"], row["seeds"]) for row in rows] == [
        ("clean", "0 1"), ("clean under trigger", "0 1"), ("backdoored", "0 1"), ("repaired", "0 1")
    ]  # fmt: skip
    backdoored = rows[2]
    assert float(backdoored["metric:toyhit.asr"]) == 1.0 and float(backdoored["metric:toyhit.asr std"]) == 0.0
    assert backdoored["verdict"] == "backdoored 2/2"
    by_seed = json.loads(bdm(toys, "results", "runs", "--format", "json", "--by-seed").stdout)
    assert len(by_seed) == 8 and {tuple(row["seeds"]) for row in by_seed} == {(0,), (1,)}
    table = bdm(toys, "results", "runs").stdout
    assert "2 seeds" in table and "1.000 ±0.000" in table and max(map(len, table.splitlines())) <= 80


def test_results_leave_out_a_run_that_failed(toys: FakeSite, tmp_path: Path) -> None:
    bdm(toys, *RUN, "--quiet", "--name", "one")
    bdm(toys, *RUN, "--quiet", "--name", "two", "--seed", "1")
    path = tmp_path / "runs/two/run.json"
    path.write_text(path.read_text().replace('"complete"', '"failed"'))
    result = bdm(toys, "results", "runs", "--format", "json")
    assert all(row["seeds"] == [0] for row in json.loads(result.stdout))
    assert "did not complete: two" in result.stderr


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
        from cli_toys import Attack
        class Failing(Attack):
            name = "failing"
            def poison_data(self, data):
                return {}["no such key"]
            poison_data.bdm_impl = Attack.poison_data.bdm_impl
    """
    toys.install("bdm-failing", {"bdm.attacks": {"failing": "failing_attack:Failing"}}, {"failing_attack": source})
    arguments = ("run", "--attack", "failing", "--out", "runs", "--device", "cpu", "--quiet")
    result = bdm(toys, *arguments)
    assert result.returncode == 1
    reason = "attack:failing failed while making 'poisoned data': KeyError: 'no such key'"
    assert result.stderr.splitlines() == [f"error: {reason} (BDM_TRACEBACK=1 shows where)"]
    result = bdm_process(toys, *arguments, BDM_TRACEBACK="1")
    assert result.returncode == 1 and 'return {}["no such key"]' in result.stderr
