"""What lies around a run may be anything: the environment, leases, records, streams that are closed."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_site import FakeSite

from bdm_cli.specification import read_mapping
from bdm_core.artifacts import Data, verify_if_sealed
from bdm_core.errors import ArtifactError, StageError, UserError
from bdm_core.files import as_unicode, finite, read_json
from bdm_core.machine.redaction import HIDDEN, redact
from bdm_core.run.ranks import rank
from bdm_core.run.runner import run, scan
from bdm_core.run.specification import RunSpec
from bdm_core.store.lease import Lease, machine
from bdm_results.rows import rows_in
from bdm_results.view import RunView

TOY = Path(__file__).parent / "toy"
DEFENSE = """
    import os, threading, time
    from bdm_core import Defense, Detection, hookimpl

    class Odd(Defense):
        name = "odd"

        @hookimpl
        def detect(self, ctx, model, data):
            found = Detection(level="model", scores=[0.0], threshold=1.0)
            {code}
            return found
"""
CASES = {
    "nested": "[" * 200_000,
    "not UTF-8": b"\xff\xfe",
    "a number beyond floats": json.dumps({"machine": machine(), "start": "5"})[:-1] + ', "pid": 1e400}',
}


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))


def detector(site: FakeSite, code: str) -> None:
    site.install("bdm-odd", {"bdm.defenses": {"odd": "bdm_odd:Odd"}}, {"bdm_odd": DEFENSE.format(code=code)})


def bdm(*arguments: str, before: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """``bdm`` in a process of its own, which first runs ``before``."""
    script = f"import sys\n{before}\nsys.argv[0] = 'bdm'\nfrom bdm_cli.start import main\nmain()"
    path = os.pathsep.join([str(TOY), *sys.path])
    options = {"capture_output": True, **options}
    environment = {**os.environ, "PYTHONPATH": path, **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], text=True, env=environment, check=False, timeout=120, **options
    )


@pytest.mark.parametrize(
    "variables", [{"RANK": "1"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "x"}, {"RANK": "-1"}, {"WORLD_SIZE": "1e3"}]
)
def test_a_stray_rank_is_no_silent_answer(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="unset"):
        rank()


def test_redaction_takes_time_in_proportion() -> None:
    start = time.process_time()
    for text in ("x" * 200_000, "-" * 200_000, "--a" * 60_000, "a=" * 100_000, "'a=" * 60_000, "?a" * 100_000):
        redact(text)
    assert time.process_time() - start < 10
    assert redact("--api-key abc token=def 'password=x y'") == f"--api-key {HIDDEN} token={HIDDEN} 'password={HIDDEN}'"


@pytest.mark.parametrize("content", [b"[" * 200_000, b"\xff\xfe", b"{"])
def test_json_that_is_none_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ValueError, match="no plain file"):
        read_json(tmp_path / "a.json")
    with pytest.raises(UserError, match="no plain file"):
        read_mapping(tmp_path / "a.json")


def test_json_holds_text_and_numbers_that_every_program_reads() -> None:
    odd = {"a\udc80": ["b\udc81", math.nan, 10**400, 7, True]}
    assert finite(odd) == {"a\\udc80": ["b\\udc81", None, None, 7, True]}
    assert as_unicode("Straße") == "Straße"


@pytest.mark.parametrize("content", ['{"schema_version": 1, "kind": []}', "[" * 200_000, '{"schema_version": 1}'])
def test_a_strangers_manifest_stops_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    verify_if_sealed(str(tmp_path))
    with pytest.raises(ArtifactError):
        Data.open(tmp_path)


def test_a_file_name_that_is_no_text_is_not_sealed(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff.txt")).write_text("x")
    except OSError:
        pytest.skip("the file system takes no such name")
    with pytest.raises(ArtifactError, match="no Unicode"):
        Data.seal(tmp_path, format="text", task="toy")


@pytest.mark.parametrize("kind", [*CASES, "a pipe", "a link to nowhere"])
def test_a_lease_of_anything_is_taken_over(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.lease"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a link to nowhere":
        path.symlink_to(tmp_path / "nowhere")
    else:
        content = CASES[kind]
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (0, 0), follow_symlinks=False)
    with Lease(path) as lease:
        assert lease.acquire()
        assert lease.held()
    assert not path.exists()


@pytest.mark.parametrize(
    "code",
    [
        "found = found.model_copy(update={'threshold': float('nan')})",
        "found.scores[0] = float('inf')",
        "found = Detection.model_construct(level='model', scores=['a'], threshold=None)",
        "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()",
    ],
)
def test_an_unchecked_answer_is_a_failed_stage(tmp_path: Path, fake_site: FakeSite, code: str) -> None:
    detector(fake_site, code)
    with pytest.raises(StageError, match="defense:odd"):
        scan(RunSpec(model="tiny", task="toy", detectors=["odd"], device="cpu"), tmp_path)


def test_text_of_odd_bytes_costs_no_stage(tmp_path: Path, fake_site: FakeSite) -> None:
    code = (
        "ctx.log.warning('a \\udc80'); ctx.figures(a='\\udc80'); found = found.model_copy(update={'note': '\\udc80'})"
    )
    detector(fake_site, code.replace("\\", "\\\\"))
    view = scan(RunSpec(model="tiny", task="toy", detectors=["odd"], device="cpu"), tmp_path)
    assert view.verdict == "clean"
    assert view.record["detections"]["odd"]["note"] == "\\udc80"


def test_a_stage_whose_lease_vanishes_ends(tmp_path: Path, fake_site: FakeSite) -> None:
    detector(fake_site, "[path.unlink() for path in ctx.work.parent.parent.glob('*.lease')]")
    with pytest.raises(StageError, match="vanish"):
        scan(RunSpec(model="tiny", task="toy", detectors=["odd"], device="cpu"), tmp_path)


def test_a_damaged_number_costs_its_line_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    view = run(RunSpec(attack="toy", detect="toy", repair="toy", device="cpu"), tmp_path)
    whole = len(rows_in(tmp_path))
    lines = view.results
    damaged = [{**lines[0], "value": "x"}, {**lines[1], "higher_is_better": -5}, {**lines[2], "seed": [None]}]
    del lines[3]["value"]
    text = "".join(json.dumps(line) + "\n" for line in [*damaged, *lines[3:]])
    (view.folder / "results.jsonl").write_text(text + "[" * 200_000)
    assert len(rows_in(tmp_path)) == whole - 4
    assert "line 1 is damaged" in caplog.text


@pytest.mark.parametrize(
    ("file", "place", "value"),
    [
        ("run.json", ("spec", "model"), 1e308),
        ("run.json", ("spec", "attack"), True),
        ("run.json", ("detections", "backdoored", "verdict"), [None]),
        ("run.json", ("seconds",), "x"),
        ("stages.json", (0, "warnings"), 1.5),
        ("stages.json", (0, "stage"), {}),
    ],
)
def test_a_damaged_record_is_left_out(tmp_path: Path, file: str, place: tuple[Any, ...], value: Any) -> None:
    view = run(RunSpec(attack="toy", detect="toy", repair="toy", device="cpu"), tmp_path)
    document = json.loads((view.folder / file).read_text())
    part = document
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    (view.folder / file).write_text(json.dumps(document))
    with pytest.raises(UserError, match=f"is damaged: {file} has no valid {place[-1]}"):
        RunView(view.folder)


def test_repeated_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("params:\n  a:b:\n    c: 1\n    c: 2\n")
    with pytest.raises(UserError, match="line 4: 'c' stands there twice"):
        read_mapping(tmp_path / "a.yaml")
    found = bdm("run", "--attack", "toy", "--set", "attack:toy.steps=1", "--set", "attack:toy.steps=2")
    assert found.returncode == 2
    assert "is given twice" in found.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("command", ["--version", "--help", "models"])
def test_a_result_that_cannot_be_written_is_one_line(command: str) -> None:
    with Path("/dev/full").open("w") as full:
        found = bdm(command, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert found.returncode != 0
    assert len(found.stderr.splitlines()) == 1
    assert found.stderr.startswith("error: ")


def test_closed_streams_cost_nothing() -> None:
    without_error = bdm("models", "--task", "toy", before="import os; os.close(2); sys.stderr = None")
    assert without_error.returncode == 0
    assert "builtin" in without_error.stdout
    without_output = bdm("models", "--task", "toy", before="import os; os.close(1); sys.stdout = None")
    assert (without_output.returncode, without_output.stderr) == (0, "")


@pytest.mark.parametrize(
    "code",
    [
        "os.fork()",
        "threading.Thread(target=lambda: [os.write(1, b'T') for _ in range(40) if not time.sleep(0.05)]).start()",
        "ctx.log.info('%d %d', 'x')",
        "ctx.log.warning('x' * 100_000)",
    ],
)
def test_json_stays_one_document(tmp_path: Path, fake_site: FakeSite, code: str) -> None:
    detector(fake_site, code)
    arguments = ("scan", "tiny", "--task", "toy", "--detect", "odd", "--device", "cpu")
    found = bdm(*arguments, "--json", "--no-report", "--out", str(tmp_path / "runs"))
    assert json.loads(found.stdout)["verdict"] == "clean"
    assert "Traceback" not in found.stderr
    assert len(found.stderr) < 10_000


def test_a_place_for_sarif_is_looked_at_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = bdm("scan", "tiny", "--task", "toy", "--sarif", str(tmp_path / "file" / "x"), "--out", str(tmp_path / "r"))
    assert found.returncode == 2
    assert "cannot write" in found.stderr
    assert not (tmp_path / "r").exists()


def test_ctrl_c_while_modules_are_imported_is_quiet() -> None:
    listening = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # the tests' shell may ignore it
    )
    before = (
        f"{listening}import os, threading; "
        f"threading.Timer(0.02, lambda: os.kill(os.getpid(), {int(signal.SIGINT)})).start()"
    )
    found = bdm("models", before=before)
    assert found.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
    assert "KeyboardInterrupt" not in found.stderr
