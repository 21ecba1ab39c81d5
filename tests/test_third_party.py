"""A package from outside the repository: built, installed beside the wheels, run, with no change to the core."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from wheelhouse import ROOT, Environment, build_wheels, fresh_environment, install

PACKAGE = Path(__file__).parent / "third_party" / "bdm-attack-sample"
METRICS = ("bdm-metric-target", "bdm-metric-frechet", "bdm-metric-detection")
NAMES = ("bdm-torch", "bdm-diffusers", "bdm-kit-diffusion", "bdm-defense-none", *METRICS)
PROJECTS = [ROOT, *(folder for name in NAMES for folder in ROOT.glob(f"plugins/*/{name}")), PACKAGE]
SETTING = ("--set", "attack:sample.trigger_value=3", "--set", "attack:sample.bias_shift=0.25")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    wheels = build_wheels(PROJECTS, tmp_path_factory.mktemp("wheels"))
    made = fresh_environment(tmp_path_factory.mktemp("environment") / "venv", PROJECTS)
    install(made, wheels, "bdm-attack-sample", "bdm-defense-none", *METRICS)
    return made


@pytest.fixture(scope="module")
def document(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    arguments = ["run", "--attack", "sample", "--defense", "none", "--model", "tiny", "--data", "tiny", "--json"]
    out = tmp_path_factory.mktemp("runs")
    text = environment.command("bdm", *arguments, *SETTING, "--out", str(out), cwd=out)
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def test_it_is_found_and_passes_the_check(environment: Environment) -> None:
    listed = json.loads(environment.command("bdm", "plugins", "list", "attack", "--json"))
    assert [(item["name"], item["distribution"], item["version"]) for item in listed] == [
        ("sample", "bdm-attack-sample", "3.1")
    ]
    environment.command("bdm", "plugins", "check", "sample")


def test_the_run_completes_with_its_own_parameters(document: dict[str, Any]) -> None:
    record = document["record"]
    assert record["status"] == "complete"
    used = record["plugins"]["attack:sample"]
    assert (used["distribution"], used["version"]) == ("bdm-attack-sample", "3.1")
    assert used["params"] == {"trigger_value": 3.0, "bias_shift": 0.25, "sampler": "one-step"}


def test_its_sampler_ran_under_the_trigger_and_the_kits_otherwise(document: dict[str, Any]) -> None:
    folder = Path(document["folder"])
    stages = {item["label"]: item for item in json.loads((folder / "stages.json").read_text(encoding="utf-8"))}
    own = {"sampler": "one-step of bdm-attack-sample"}
    assert stages["backdoored samples under trigger"]["figures"].items() >= own.items()
    assert stages["clean samples under trigger"]["figures"].items() >= own.items()
    assert "one-step" not in json.dumps([stages["backdoored samples"], stages["clean samples"]])


def test_nothing_was_trained_and_everything_was_scored(document: dict[str, Any]) -> None:
    assert "poisoned data" not in {item["label"] for item in document["stages"]}
    rows = {(item["row"], item["metric"]) for item in document["results"]}
    assert ("backdoored", "metric:target.mse") in rows
    assert ("clean under trigger", "metric:target.asr@0.05") in rows
    assert any(metric.startswith("metric:frechet.") for row, metric in rows if row == "clean")


def test_the_edit_shows_in_the_numbers(document: dict[str, Any]) -> None:
    values = {(item["row"], item["metric"]): item["value"] for item in document["results"]}
    assert values["backdoored", "metric:target.mse"] != values["clean under trigger", "metric:target.mse"]
