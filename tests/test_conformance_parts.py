"""The parts of the conformance kit: reading artifacts, watching the file system, the pytest plugin."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from fake_site import FakeSite
from PIL import Image
from safetensors.numpy import save_file

import bdm_core
from bdm_core import Data, Field, Metric, Outputs, Params
from bdm_core.testing import MetricConformance, guard
from bdm_core.testing.alone import HEAVY, run_alone
from bdm_core.testing.contents import all_finite, count_of, mean_change, read_png, read_safetensors, rows_of


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA"])
def test_png_reader_agrees_with_pillow(tmp_path: Path, mode: str) -> None:
    across, down = np.meshgrid(np.arange(23), np.arange(17))
    channels = [across * 11 + down * 3, across * down, 255 - across, 7 * down + (across > 9) * 100]
    pixels = np.stack(channels[: len(mode)], axis=-1).astype(np.uint8)
    Image.fromarray(pixels.squeeze(), mode=mode).save(tmp_path / "a.png")
    raw = (tmp_path / "a.png").read_bytes()
    assert raw.startswith(b"\x89PNG")
    assert read_png(tmp_path / "a.png") == pytest.approx((pixels / 127.5 - 1).ravel().tolist())


@pytest.mark.parametrize("kind", range(5))
def test_png_reader_undoes_every_filter(tmp_path: Path, kind: int) -> None:
    """Lines filtered by hand as in the PNG specification, section 9.2, and read by Pillow as a check of the file."""
    lines = [bytes((31 * x + 57 * y * (x + 1)) % 256 for x in range(12)) for y in range(4)]
    packed = b""
    for y, line in enumerate(lines):
        above = lines[y - 1] if y else bytes(12)
        packed += bytes([kind])
        for x in range(12):
            left, up = (line[x - 3] if x >= 3 else 0), above[x]
            corner = above[x - 3] if x >= 3 else 0
            estimate = left + up - corner
            paeth = sorted((left, up, corner), key=lambda value: abs(estimate - value))[0]
            packed += bytes([(line[x] - (0, left, up, (left + up) // 2, paeth)[kind]) % 256])
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(packed)), (b"IEND", b"")]
    raw = b"\x89PNG\r\n\x1a\n"
    for name, body in chunks:
        raw += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    (tmp_path / "a.png").write_bytes(raw)
    wanted = [value / 127.5 - 1 for line in lines for value in line]
    assert np.asarray(Image.open(tmp_path / "a.png")).tobytes() == b"".join(lines)
    assert read_png(tmp_path / "a.png") == wanted


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8])
def test_safetensors_reader_agrees_with_the_library(tmp_path: Path, dtype: type) -> None:
    tensor = (np.arange(24).reshape(2, 3, 4) * 1.5).astype(dtype)
    save_file({"b": tensor, "a": tensor[:1]}, tmp_path / "x.safetensors", metadata={"note": "none"})
    found = read_safetensors(tmp_path / "x.safetensors")
    assert found == {"a": ([1, 3, 4], tensor[:1].ravel().tolist()), "b": ([2, 3, 4], tensor.ravel().tolist())}


def test_rows_join_records_tensors_and_pictures(tmp_path: Path) -> None:
    save_file({"noise": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)}, tmp_path / "noise.safetensors")
    lines = ['{"id": 7, "file_name": "b.png", "size": [5]}', '{"id": 8, "file_name": "a.png", "size": [6]}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    for name, level in (("a.png", 0), ("b.png", 255)):
        Image.fromarray(np.full((1, 1), level, np.uint8)).save(tmp_path / name)
    data = Data.seal(tmp_path, format="mixture", task="toy")
    assert count_of(data) == 2
    assert [row.values for row in rows_of(data)] == [[5.0, 1.0, 2.0, 1.0], [6.0, 3.0, 4.0, -1.0]]
    assert [row.record["id"] for row in rows_of(data)] == [7, 8]


def outputs(folder: Path, *values: float) -> Outputs:
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(f'{{"value": {value}}}\n' for value in values))
    return Outputs.seal(folder, format="values", task="toy")


def test_change_is_the_mean_absolute_difference(tmp_path: Path) -> None:
    one, other = outputs(tmp_path / "a", 1, 2, 4), outputs(tmp_path / "b", 1, 0, 8)
    assert mean_change(one, other) == pytest.approx(2.0)
    assert mean_change(one, outputs(tmp_path / "c", 1, 2)) == math.inf


def test_not_a_number_is_noticed(tmp_path: Path) -> None:
    assert all_finite(outputs(tmp_path / "a", 1.0))
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "rows.jsonl").write_text('{"value": NaN}\n')
    assert not all_finite(Outputs.seal(folder, format="values", task="toy"))


def test_watching_sees_reads_and_listings_within_the_block_only(tmp_path: Path) -> None:
    given, other = tmp_path / "given", tmp_path / "other"
    for folder in (given, other):
        folder.mkdir()
        (folder / "file.txt").write_text("text")
    with guard.watched() as seen:
        (given / "file.txt").read_text()
        (other / "file.txt").read_text()
        list(tmp_path.iterdir())
    (tmp_path / "later.txt").write_text("after the block")
    assert guard.outside(seen, tmp_path, [given]) == [".", "other/file.txt"]
    assert not any(path.endswith("later.txt") for path in seen)


def test_watching_pauses_for_what_is_not_the_hooks_doing(tmp_path: Path) -> None:
    for name in ("query", "hook"):
        (tmp_path / name).write_text("text")
    with guard.watched() as seen:
        with guard.unwatched():
            (tmp_path / "query").read_text()
        (tmp_path / "hook").read_text()
    assert guard.outside(seen, tmp_path, []) == ["hook"]


def test_heavy_imports_are_seen_in_a_fresh_process() -> None:
    assert run_alone("import json", HEAVY) == ("", "")
    assert run_alone("import safetensors.numpy", HEAVY) == ("", "numpy")
    assert run_alone("import safetensors.numpy", ("torch",)) == ("", "")
    assert run_alone("print(sys.argv[1])", HEAVY, "given") == ("", "given")
    error, _ = run_alone("import no_such_module", HEAVY)
    assert "no_such_module" in error


def test_a_plugin_of_every_task_is_tested_on_the_leading_kit(
    fake_site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "name, tasks, precedence = {!r}, frozenset({{{!r}}}), {}"
    source = f"from bdm_core import Kit\nclass K(Kit): {body}\n"
    for name, task, precedence in (("low", "task-a", 1), ("high", "task-b", 2), ("same", "task-c", 2)):
        target = f"kit_{name}:K"
        groups = {"bdm.kits": {name: target}, "bdm.tasks": {task: target}}
        fake_site.install(f"kit-{name}", groups, {f"kit_{name}": source.format(name, task, precedence)})
    monkeypatch.setenv("BDM_PLUGINS", "kit-low,kit-high,kit-same")

    class Anywhere(Metric):
        name = "anywhere"

    class Here(Metric):
        name = "here"
        tasks = frozenset({"task-c", "task-a", "task-of-no-kit"})

    class Case(MetricConformance):
        plugin = Anywhere

    assert Case().chosen_task() == "task-b"
    Case.plugin = Here
    assert Case().chosen_task() == "task-a"
    Case.task = "task-c"
    assert Case().chosen_task() == "task-c"


def test_tiny_parameters_of_the_class_serve_where_a_test_names_none() -> None:
    class SlowParams(Params):
        steps: int = Field(1000, description="Steps.")
        rate: float = Field(0.1, description="A share.")

    class Slow(Metric):
        name = "slow"
        Params = SlowParams
        tiny_params = {"steps": 2}

    class Case(MetricConformance):
        plugin = Slow

    assert Case().chosen_params == SlowParams(steps=2)
    Case.params = {"rate": 0.5}
    assert Case().chosen_params == SlowParams(rate=0.5)


def test_differences_name_new_changed_and_removed_files(tmp_path: Path) -> None:
    for name in ("same", "changed", "removed"):
        (tmp_path / name).write_text("1")
    (tmp_path / "left out").mkdir()
    before = guard.snapshot(tmp_path, [tmp_path / "left out"])
    (tmp_path / "changed").write_text("22")
    (tmp_path / "removed").unlink()
    (tmp_path / "new").write_text("1")
    (tmp_path / "left out" / "file").write_text("1")
    assert guard.differences(before, guard.snapshot(tmp_path, [tmp_path / "left out"])) == ["changed", "new", "removed"]


def run_pytest(folder: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(code)
    path = os.pathsep.join([str(Path(__file__).parent / "toy"), str(Path(bdm_core.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    plain = ["-q", "-p", "bdm_core.testing.pytest_plugin", f"--rootdir={folder}", "-o", "addopts="]
    command = [sys.executable, "-m", "pytest", *plain, *options, "test_it.py"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_pytest_plugin_costs_other_suites_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "def test_nothing_heavy_came_in():\n"
        "    found = {'pydantic', 'torch', 'numpy', 'yaml', 'bdm_core.plugin'} & set(sys.modules)\n"
        "    assert not found\n"
    )
    done = run_pytest(tmp_path, code, "--strict-markers", "-W", "error")
    assert done.returncode == 0, done.stdout


def test_fixtures_make_contexts_and_benches(tmp_path: Path) -> None:
    code = (
        "def test_contexts(bdm_context):\n"
        "    one, other = bdm_context(seed=3, stage='repair'), bdm_context()\n"
        "    assert (one.seed, one.stage, other.seed) == (3, 'repair', 0)\n"
        "    assert one.out != other.out\n"
        "    assert [list(f.iterdir()) for f in (one.out, one.work, other.out, other.work)] == [[], [], [], []]\n"
        "def test_bench(bdm_bench):\n"
        "    bench = bdm_bench('toy', samples=5)\n"
        "    assert bench.inputs().meta['count'] == 5\n"
        "    assert bench.generate(bench.model, bench.inputs()).meta['count'] == 5\n"
    )
    done = run_pytest(tmp_path, code)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
