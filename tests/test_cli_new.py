"""``bdm plugins new``: what it writes installs, loads, and passes its own conformance test."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli_process import bdm, error_line
from fake_site import FakeSite

from bdm_cli.scaffold import kinds, write_package
from bdm_core.errors import UserError

TASKS = (
    "made-here",
    "unconditional-image-generation",
    "text-to-image",
    "image-classification",
    "text-classification",
    "audio-classification",
)
"""The task of the kit that is made here, which stands for every other one, and those with templates of their own."""
CASES = [
    ("kit", None),
    ("observer", None),
    *((kind, task) for kind in ("attack", "defense", "metric") for task in TASKS),
]
CLASSIFIERS = ("image-classification", "text-classification", "audio-classification")
RUN = [case for case in CASES if case[0] != "metric" or case[1] not in CLASSIFIERS[1:]]
"""Those whose own tests run: a metric of classifiers reads predictions, which are the same for every task."""


NAMES = {
    "unconditional-image-generation": "noise-made",
    "text-to-image": "prompt-made",
    "image-classification": "pixels-made",
    "text-classification": "words-made",
    "audio-classification": "sound-made",
}


def name_for(task: str | None) -> str:
    return NAMES.get(task or "", "made-here")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> FakeSite:
    """One package of each kind and task, built and installed by pip into a folder of its own, without network."""
    folder = tmp_path_factory.mktemp("new")
    site = folder / "site"
    site.mkdir()
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--target", str(site)]
    packages = [write_package("kit", "made-here", folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *map(str, packages)], check=True)
        packages = [write_package(kind, name_for(task), folder, task) for kind, task in CASES if kind != "kit"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *map(str, packages)], check=True)
    return FakeSite(site)


def test_there_is_a_template_for_each_kind_that_users_write() -> None:
    assert kinds() == ["attack", "defense", "kit", "metric", "observer"]


@pytest.mark.parametrize(("kind", "task"), RUN)
def test_a_new_package_passes_its_own_tests_as_generated(installed: FakeSite, kind: str, task: str | None) -> None:
    package = installed.root.parent / f"bdm-{kind}-{name_for(task)}"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(package), str(package)],
        capture_output=True,
        text=True,
        cwd=package,
        env={**installed.environment(), "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert "passed" in result.stdout and "skipped" not in result.stdout


def test_a_new_package_is_clean_by_the_projects_own_rules(installed: FakeSite) -> None:
    rules = ["--isolated", "--no-cache", "--line-length", "120", "--select", "E,F,UP,B,SIM,PIE,RET,C4"]
    result = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, *map(str, installed.root.parent.glob("bdm-*"))],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("kind", "task"), CASES)
def test_a_new_package_has_the_documented_form(installed: FakeSite, kind: str, task: str | None) -> None:
    folder = installed.root.parent / f"bdm-{kind}-{name_for(task)}"
    package = folder / folder.name.replace("-", "_")
    texts = {path.name: path.read_text(encoding="utf-8") for path in package.iterdir() if path.is_file()}
    assert "torch" not in [line.split()[1] for line in texts["plugin.py"].splitlines() if line.startswith("import ")]
    assert not any("@@" in text for text in texts.values()) and "py.typed" in texts
    assert "hookimpl" in texts["plugin.py"] and "from bdm_core import " in texts["plugin.py"]
    if kind != "observer":
        assert {"params.py", "method.py"} <= set(texts) and "plugin import" not in texts["method.py"]
    if kind in ("attack", "defense", "metric"):
        assert '    paper = ""\n' in texts["plugin.py"]
    toml = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (target,) = toml["entry-points"][f"bdm.{kind}s"].values()
    served = {task or "made-here": target} if kind != "observer" else {}
    assert toml["entry-points"].get("bdm.tasks", {}) == served


@pytest.mark.parametrize("task", CLASSIFIERS)
def test_an_attack_on_classifiers_is_tested_as_the_kits_own_are(installed: FakeSite, task: str) -> None:
    """That conformance opens the secret, so that metrics and the kit's trigger can do so too."""
    folder = installed.root.parent / f"bdm-attack-{name_for(task)}"
    (conformance,) = (folder / "tests").glob("test_bdm_*.py")
    text = conformance.read_text(encoding="utf-8")
    assert "TestConformance(ClassifierAttackConformance)" in text and f'task = "{task}"' in text
    assert '"bdm-kit-classification>=0.1,<0.2"' in (folder / "pyproject.toml").read_text(encoding="utf-8")


def test_the_command_says_what_to_do_next(fake_site: FakeSite, tmp_path: Path) -> None:
    result = bdm(fake_site, "plugins", "new", "observer", "mine", "--out", tmp_path / "work")
    assert result.returncode == 0
    folder = tmp_path / "work/bdm-observer-mine"
    assert f"pip install -e '{folder}[test]'" in result.stdout.replace("\n", "")
    assert "pip install -e '.[test]'" in (folder / "README.md").read_text()
    assert 'description = "bdm observer: Writes the time of each stage' in (folder / "pyproject.toml").read_text()
    text = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert "@@" not in text and 'mine = "bdm_observer_mine.plugin:MineObserver"' in text


def test_it_never_writes_into_an_existing_folder(fake_site: FakeSite, tmp_path: Path) -> None:
    write_package("observer", "mine", tmp_path)
    message = error_line(bdm(fake_site, "plugins", "new", "observer", "mine", "--out", tmp_path))
    assert "exists already" in message


@pytest.mark.parametrize("name", ["Mine", "1mine", "mine-", "my_own", "../mine", "", "a" * 300])
def test_a_name_of_the_wrong_form_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"no plugin name|too long"):
        write_package("observer", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_kit_serves_a_task_of_its_own_unless_one_is_named(fake_site: FakeSite, tmp_path: Path) -> None:
    group = '[project.entry-points."bdm.tasks"]\n'
    own = write_package("kit", "mine", tmp_path)
    assert f'{group}mine = "bdm_kit_mine.plugin:MineKit"' in (own / "pyproject.toml").read_text()
    done = bdm(fake_site, "plugins", "new", "kit", "other", "--task", "image-classification", "--out", tmp_path)
    assert done.returncode == 0
    assert f"{group}image-classification = " in (tmp_path / "bdm-kit-other/pyproject.toml").read_text()
    with pytest.raises(UserError, match="no task tag"):
        write_package("kit", "third", tmp_path, "Two Words")


def test_a_task_that_no_kit_serves_is_refused_and_the_others_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no installed kit serves task 'juggling'; kits serve .*text-to-image"):
        write_package("attack", "mine", tmp_path, "juggling")
    with pytest.raises(UserError, match="an observer works for every task"):
        write_package("observer", "mine", tmp_path, "text-to-image")
