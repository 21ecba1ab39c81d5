"""The wheels: what is in them, and that an empty environment with nothing else works."""

from __future__ import annotations

import json
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from wheelhouse import ROOT, Environment, build_wheels, fresh_environment, install, run

PROJECTS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/*/pyproject.toml"))]
OF_A_USER = "bdm[demo]"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheels(PROJECTS, tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def environment(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = fresh_environment(tmp_path_factory.mktemp("environment") / "venv", PROJECTS)
    install(made, wheels, OF_A_USER)
    return made


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_there_is_one_wheel_a_project(wheels: Path) -> None:
    built = {path.name.split("-")[0].replace("_", "-") for path in wheels.glob("*.whl")}
    named = {tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"] for folder in PROJECTS}
    assert built == named


def test_the_core_wheel_has_core_and_command_line(wheels: Path) -> None:
    (wheel,) = wheels.glob("bdm-*.whl")
    names = names_in(wheel)
    assert {
        "bdm_core/hookspecs.py",
        "bdm_core/py.typed",
        "bdm_cli/main.py",
        "bdm_cli/py.typed",
        "bdm_results/py.typed",
    } <= names
    assert any(name.startswith("bdm_cli/templates/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "bdm_core",
        "bdm_cli",
        "bdm_results",
        "bdm_sweep",
    }


def test_plugin_wheels_hold_their_package_only(wheels: Path) -> None:
    for wheel in wheels.glob("bdm_*.whl"):
        package = wheel.name.split("-")[0]
        folders = {name.split("/")[0] for name in names_in(wheel) if ".dist-info/" not in name}
        assert folders == {package}, wheel.name


def test_the_kit_wheel_brings_its_model(wheels: Path) -> None:
    (wheel,) = wheels.glob("bdm_kit_diffusion-*.whl")
    names = names_in(wheel)
    assert "bdm_kit_diffusion/built_in/digits-ddpm/unet/diffusion_pytorch_model.safetensors" in names
    assert "bdm_kit_diffusion/built_in/digits-classifier/model.safetensors" in names


def test_a_user_installs_one_name_and_has_what_a_run_needs(environment: Environment) -> None:
    listed = json.loads(environment.command("bdm", "plugins", "list", "--json"))
    found = {(item["kind"], item["name"]) for item in listed}
    assert {("attack", "villan"), ("defense", "elijah"), ("kit", "diffusion")} <= found
    assert {("metric", "target"), ("metric", "frechet"), ("metric", "detection")} <= found
    run([sys.executable, "-m", "pip", "--python", str(environment.python), "check"])


def test_every_installed_plugin_loads_with_its_declared_dependencies(environment: Environment) -> None:
    environment.command("bdm", "plugins", "check")


def test_help_and_version(environment: Environment) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert environment.command("bdm", "--version").split() == ["bdm", version]
    assert "run" in environment.command("bdm", "--help")


def test_no_code_of_the_repository_is_used(environment: Environment, tmp_path: Path) -> None:
    code = (
        "import bdm_core, bdm_cli, bdm_kit_diffusion as kit; print(bdm_core.__file__, bdm_cli.__file__, kit.__file__)"
    )
    places = run([str(environment.python), "-c", code], tmp_path).stdout.split()
    assert all(Path(place).is_relative_to(environment.folder) for place in places)
