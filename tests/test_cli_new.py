"""``bdm plugins new``: what it writes installs, loads, and passes its own conformance test."""

import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import bdm, error_line
from fake_site import FakeSite

from bdm_cli.scaffold import kinds, write_package
from bdm_core.errors import UserError


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> FakeSite:
    """One package of each kind, built and installed by pip into a folder of its own, without network."""
    folder = tmp_path_factory.mktemp("new")
    packages = [str(write_package(kind, "made-here", folder)) for kind in kinds()]
    (folder / "site").mkdir()
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--target", str(folder / "site")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *packages], check=True)
    return FakeSite(folder / "site")


def test_there_is_a_template_for_each_kind_that_users_write() -> None:
    assert kinds() == ["attack", "defense", "kit", "metric", "observer"]


@pytest.mark.parametrize("kind", ["attack", "defense", "kit", "metric", "observer"])
def test_a_new_package_passes_its_own_tests_as_generated(installed: FakeSite, kind: str) -> None:
    package = installed.root.parent / f"bdm-{kind}-made-here"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(package), str(package)],
        capture_output=True, text=True, cwd=package, env={**installed.environment(), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
    assert "passed" in result.stdout and "skipped" not in result.stdout


def test_a_new_package_is_clean_by_the_projects_own_rules(installed: FakeSite) -> None:
    rules = ["--isolated", "--no-cache", "--line-length", "120", "--select", "E,F,UP,B,SIM,PIE,RET,C4"]
    result = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, *map(str, installed.root.parent.glob("bdm-*"))],
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout


def test_the_command_says_what_to_do_next(fake_site: FakeSite, tmp_path: Path) -> None:
    result = bdm(fake_site, "plugins", "new", "metric", "mine", "--out", tmp_path / "work")
    assert result.returncode == 0
    folder = tmp_path / "work/bdm-metric-mine"
    assert f"bdm plugins install -e {folder}" in result.stdout.replace("\n", "")
    text = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert "@@" not in text and 'mine = "bdm_metric_mine.plugin:MineMetric"' in text


def test_it_never_writes_into_an_existing_folder(fake_site: FakeSite, tmp_path: Path) -> None:
    write_package("attack", "mine", tmp_path)
    message = error_line(bdm(fake_site, "plugins", "new", "attack", "mine", "--out", tmp_path))
    assert "exists already" in message


@pytest.mark.parametrize("name", ["Mine", "1mine", "mine-", "my_own", "../mine", ""])
def test_a_name_of_the_wrong_form_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no plugin name"):
        write_package("attack", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_kit_serves_a_task_of_its_own_unless_one_is_named(fake_site: FakeSite, tmp_path: Path) -> None:
    group = '[project.entry-points."bdm.tasks"]\n'
    own = write_package("kit", "mine", tmp_path)
    assert f'{group}mine = "bdm_kit_mine.plugin:MineKit"' in (own / "pyproject.toml").read_text()
    done = bdm(fake_site, "plugins", "new", "kit", "other", "--task", "image-classification", "--out", tmp_path)
    assert done.returncode == 0
    assert f"{group}image-classification = " in (tmp_path / "bdm-kit-other/pyproject.toml").read_text()
    assert "bdm.tasks" not in (write_package("attack", "mine", tmp_path) / "pyproject.toml").read_text()
    with pytest.raises(UserError, match="no task tag"):
        write_package("kit", "third", tmp_path, "Two Words")
