"""What every package of this repository has in common, and that the generated files are up to date."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bdm_core.discovery.candidates import NAME_PATTERN, TYPE_GROUPS
from bdm_core.testing.common import HEAVY

ROOT = Path(__file__).resolve().parent.parent


def toml_of(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


PROJECTS = sorted(path.parent for path in ROOT.glob("plugins/*/*/pyproject.toml"))
PLUGINS = [folder for folder in PROJECTS if "entry-points" in toml_of(folder)["project"]]
"""The others are libraries."""
SOURCES = sorted(
    path
    for folder in ("bdm_core", "cli", "plugins", "scripts", "benchmarks", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if ".venv" not in path.parts
)
LONGEST_MODULE = 300
MOST_PARAMETERS = 7
MOST_CORE_LINES = 3000
README_LIMITS = {"## Limits", "## Deviations"}
"""Every README says where its method ends, or where it deviates from the paper."""
ENTRY_GROUPS = {f"bdm.{kind}s" for kind in TYPE_GROUPS.values()} | {"bdm.tasks"}
ENGINES = {"slurm": "submitit"}
"""Executors that are called after the scheduler, and their distributions after the library that talks to it."""
PICKLE_CALLS = {("torch", "load"), ("torch", "save"), ("pickle", "load"), ("pickle", "loads"), ("joblib", "load")}
MAY_READ_PICKLES = {ROOT / "cli/bdm_cli/checkpoint.py"}
MAY_WRITE_PICKLES_TO_BE_REFUSED = {path for path in SOURCES if "tests" in path.parts}


KIT_BASES = {"defense": ["RowDetector"]}
"""Kind -> a base that a kit derives from that of the kind, with a hook that all such plugins share."""


def by_name(path: Path) -> str:
    return path.name


def test_there_are_plugins_of_every_kind() -> None:
    kinds = {path.name.split("-")[1] for path in PLUGINS}
    assert kinds == {"kit", "attack", "defense", "metric", "observer", "executor"}


@pytest.mark.parametrize("folder", PROJECTS, ids=by_name)
def test_project_has_one_form(folder: Path) -> None:
    toml = toml_of(folder)
    project = toml["project"]
    package = folder.name.replace("-", "_")
    assert toml["build-system"] == {"requires": ["hatchling>=1.27"], "build-backend": "hatchling.build"}
    assert toml["tool"] == {"hatch": {"build": {"targets": {"wheel": {"packages": [package]}}}}}
    assert project["name"] == folder.name
    assert project["readme"] == "README.md"
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "Apache-2.0"
    assert project["authors"] == [{"name": "The bdm developers"}]
    assert project["version"] == toml_of(ROOT)["project"]["version"]
    assert project["description"]
    own = [item for item in project["dependencies"] if item.startswith("bdm")]
    assert own[0] == "bdm>=0.1,<0.2"
    assert all(item.endswith(">=0.1,<0.2") for item in own)
    assert (folder / package / "py.typed").is_file()
    assert (folder / package / "__init__.py").is_file()
    assert list((folder / "tests").glob("test_*.py"))


@pytest.mark.parametrize("folder", PLUGINS, ids=by_name)
def test_entry_points_name_the_class(folder: Path) -> None:
    groups = toml_of(folder)["project"]["entry-points"]
    assert set(groups) <= ENTRY_GROUPS
    _, kind, full = folder.name.split("-", 2)
    entries = groups[f"bdm.{kind}s"]
    name = next(iter(entries))
    names = (name, f"{name}-{folder.parent.name}", ENGINES.get(name))  # a method may come for several tasks
    assert full in names
    for entry, target in entries.items():
        assert NAME_PATTERN.fullmatch(entry) and entry.startswith(name)
        module, _, attribute = target.partition(":")
        variant = entry.removeprefix(name).strip("-").replace("-", "_")
        assert module == f"{folder.name.replace('-', '_')}.{f'{variant}_' if variant else ''}plugin"
        tree = ast.parse((folder / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8"))
        cls = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == attribute)
        bases = [base.id for base in cls.bases if isinstance(base, ast.Name)]
        assert bases in ([kind.capitalize()], KIT_BASES.get(kind))
        values = {
            ast.unparse(node.targets[0]): ast.unparse(node.value) for node in cls.body if isinstance(node, ast.Assign)
        }
        assert ast.literal_eval(values["name"]) == entry


@pytest.mark.parametrize("folder", PLUGINS, ids=by_name)
def test_tasks_are_in_the_metadata(folder: Path) -> None:
    groups = toml_of(folder)["project"]["entry-points"]
    targets = [target for group in groups if group in TYPE_GROUPS for target in groups[group].values()]
    listed = [(entry.partition(".")[0], target) for entry, target in groups.get("bdm.tasks", {}).items()]
    assert sorted(listed) == sorted((task, target) for target in targets for task in load(target).tasks)


def load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("folder", PROJECTS, ids=by_name)
def test_readme_has_the_sections_of_all(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {folder.name}\n")
    assert re.search(r"^ *(bdm|make|pip|python) ", text, re.MULTILINE), "no command to copy"
    assert set(text.splitlines()) & README_LIMITS


def test_plugin_modules_are_light() -> None:
    modules = [f"{folder.name.replace('-', '_')}.plugin" for folder in PLUGINS]
    code = f"import sys\nimport {', '.join(modules)}\nprint(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("script", ["write_requirements", "write_constraints", "write_tables", "write_plugin_pages"])
def test_generated_files_are_up_to_date(script: str) -> None:
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_extras_have_the_plugins_of_their_task() -> None:
    extras = toml_of(ROOT)["project"]["optional-dependencies"]
    assert sorted(extras["all"]) == sorted(folder.name for folder in PLUGINS)
    tasks = {folder.name: tasks_of(folder) for folder in PLUGINS}
    for task in set().union(*tasks.values()):
        assert sorted(extras[task]) == sorted(name for name, served in tasks.items() if task in served or not served)
        kits = [folder for folder in PLUGINS if folder.name.startswith("bdm-kit-") and task in tasks[folder.name]]
        metrics = {f"bdm-metric-{name}" for kit in kits for name in kit_of(kit).default_metrics}
        assert kits and metrics <= set(extras[task])


def test_the_demo_has_the_default_metrics_of_its_kit() -> None:
    (kit,) = (kit_of(folder) for folder in PLUGINS if folder.name == "bdm-kit-diffusion")
    demo = set(toml_of(ROOT)["project"]["optional-dependencies"]["demo"])
    assert {"bdm-attack-villan", "bdm-defense-elijah"} | {f"bdm-metric-{name}" for name in kit.default_metrics} <= demo


def tasks_of(folder: Path) -> set[str]:
    entries = toml_of(folder)["project"]["entry-points"].get("bdm.tasks", {})
    return {entry.partition(".")[0] for entry in entries}


def kit_of(folder: Path) -> Any:
    (target,) = toml_of(folder)["project"]["entry-points"]["bdm.kits"].values()
    return load(target)


def test_torch_is_spelled_one_way() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"install .*torch==2\.13\.0$", makefile, re.MULTILINE)
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_no_module_is_long() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_the_core_is_small() -> None:
    """Lines of code: blank lines, comments and docstrings do not count, because documenting must not cost anything."""
    core = [path for path in SOURCES if path.is_relative_to(ROOT / "bdm_core") and "testing" not in path.parts]
    assert sum(map(lines_of_code, core)) < MOST_CORE_LINES


def test_no_function_takes_many_parameters() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in SOURCES
        if "tests" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and parameters_of(node) > MOST_PARAMETERS
    ]
    assert found == []


def test_formatting_is_nowhere_switched_off() -> None:
    marks = [path for path in SOURCES if path != Path(__file__) and "# fmt: skip" in path.read_text(encoding="utf-8")]
    assert marks == []


def test_names_say_what_is_inside() -> None:
    assert [path for path in SOURCES if path.stem in {"utils", "helpers", "misc", "common_utils"}] == []


def test_test_files_have_different_names() -> None:
    names = [path.name for path in SOURCES if path.name.startswith("test_")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_nothing_reads_pickles() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        if path not in MAY_READ_PICKLES | MAY_WRITE_PICKLES_TO_BE_REFUSED
        for call in calls_in(path)
        if dotted(call) in PICKLE_CALLS
    ]
    assert found == []


def test_import_reads_weights_only() -> None:
    calls = [call for path in MAY_READ_PICKLES for call in calls_in(path) if dotted(call) == ("torch", "load")]
    assert calls
    for call in calls:
        assert {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}["weights_only"] == "True"


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The number of a function's parameters without ``self`` and ``cls``."""
    listed = function.args
    names = [item.arg for item in (*listed.posonlyargs, *listed.args, *listed.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def lines_of_code(path: Path) -> int:
    """Lines of a module that hold code."""
    text = path.read_text(encoding="utf-8")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    words = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, documented)
        for item in node.body
        if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)
        for line in range(item.lineno, (item.end_lineno or item.lineno) + 1)
    }
    lines = enumerate(text.splitlines(), 1)
    return sum(
        bool(line.strip()) and number not in words and not line.strip().startswith("#") for number, line in lines
    )


def calls_in(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def dotted(call: ast.Call) -> tuple[str, str] | None:
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.value.id, function.attr
    return None
