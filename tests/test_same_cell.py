"""A run with a default written out and one without are one cell, in results as in sweeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_process import bdm
from fake_site import FakeSite
from sweep_toys import TOY

from bdm_core import api
from bdm_core.discovery.candidates import find
from bdm_results.setting import setting_of

RUN = ("run", "--attack", "toy", "--defense", "toy", "--set", "kit:toy.samples=4", "--quiet", "--no-report")
WRITTEN_OUT: list[list[str]] = [
    ["--model", "builtin"],
    ["--data", "builtin"],
    ["--device", "cpu"],
    ["--kit", "toy", "--task", "toy"],
    ["--data-share", "0.1"],
    ["--set", "attack:toy.shift=8", "--set", "defense:toy.limit=4.5"],
]
MADE_BEFORE = ("setting",)
"""What records of earlier versions do not have."""


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(TOY))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def grids(site: FakeSite) -> list[Any]:
    done = bdm(site, "results", "runs", "--format", "json")
    rows = json.loads(done.stdout)["rows"]
    return sorted((row["row"], row["model"], row["data"], tuple(row["seeds"])) for row in rows)


def test_a_default_that_is_written_out_splits_no_cell(fake_site: FakeSite, tmp_path: Path) -> None:
    for seed, options in enumerate([[], *WRITTEN_OUT]):
        assert bdm(fake_site, *RUN, "--seed", seed, *options).returncode == 0
    every = tuple(range(len(WRITTEN_OUT) + 1))
    found = grids(fake_site)
    assert {tuple(sorted(seeds)) for *_, seeds in found} == {every}
    assert {(model, data) for _, model, data, _ in found} == {("builtin", "builtin")}
    plain = api.results(tmp_path / "runs")
    assert {(row["model"], row["data"], row["device"], row["triggered_share"]) for row in plain} == {
        ("builtin", "builtin", "cpu", 1.0)
    }
    for path in (tmp_path / "runs").glob("*/run.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({name: value for name, value in record.items() if name not in MADE_BEFORE}))
    assert grids(fake_site) == found
    assert bdm(fake_site, *RUN, "--seed", 9, "--data-share", "0.2").returncode == 0
    assert len(grids(fake_site)) == 2 * len(found)


def test_without_the_kit_a_record_says_what_was_asked_for() -> None:
    spec = {"model": None, "data": "mine", "triggered_share": None, "device": "auto"}
    record = {"spec": spec, "plugins": {"kit:gone": {}}, "task": "toy", "device": "cuda:1"}
    assert setting_of(record) == {"model": None, "data": "mine", "triggered_share": None, "device": "cuda"}
    taken = {"model": "builtin", "data": "builtin", "triggered_share": 1.0}
    assert setting_of({**record, "plugins": {"kit:toy": {}}}) == {**taken, "data": "mine", "device": "cuda"}
    assert setting_of({**record, "setting": taken}) == {**taken, "device": "cuda"}


@pytest.mark.parametrize("kit", ["classification", "diffusion", "text-to-image"])
def test_the_default_data_of_a_built_in_model_are_built_in(kit: str) -> None:
    plugin = find("kit", kit).load()
    known = {item.name for item in plugin.data_sets()}
    for model in plugin.models():
        assert not model.data or model.data in known


def test_the_default_data_are_those_that_the_kit_takes() -> None:
    """Against what the kits decide from the opened model: its shape, or what it was trained on."""
    pytest.importorskip("bdm_kit_diffusion")
    from bdm_core.artifacts import Model
    from bdm_kit_diffusion.data.image_source import find_images
    from bdm_kit_diffusion.models.pipeline_folder import find_model

    for item in find("kit", "diffusion").load().models():
        folder = find_model(item.name, Path("unused"))
        unet = json.loads((folder / "unet/config.json").read_text())
        shapes = {1: (1, 8, 8), 3: (3, 16, 16), 4: (3, 16, 16)}
        meta = {"shape": list(shapes[unet["in_channels"]])}
        model = Model(kind="model", format="diffusers", task="unconditional-image-generation", path=folder, meta=meta)
        assert find_images(None, model).built_in == item.data
    pytest.importorskip("bdm_kit_classification")
    import bdm_kit_classification

    named = [item for item in find("kit", "classification").load().models() if item.data]
    assert len(named) >= 4
    for item in named:
        folder = Path(bdm_kit_classification.__file__).parent / "built_in" / item.name
        assert item.data in ("", json.loads((folder / "config.json").read_text())["trained_on"])
