"""The calibration file of a detector and the command that makes one, with a detector whose features are known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bdm_core.errors import UserError
from bdm_core.plugin import Defense, Field, Params
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.clean_models import DIFFUSION_MODELS
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, save_model
from bdm_torch.calibration_file import Calibrated, Calibration, Family, ModelRecord, calibrate, read_pair

SHAPE = (1, 8, 8)


class ToyParams(Params):
    """Two parameters, of which the features depend on one."""

    factor: float = Field(1.0, description="The first feature is this times the seed.")
    rate: float = Field(0.01, description="Of the decision.")


class Toy(Defense):
    """No hooks: only its parameters matter here."""

    name = "toy"
    summary = "A detector for tests"
    Params = ToyParams


ONE_CLASS = Calibrated("toy", "bdm_kit_diffusion", ("factor",), features=2)
LABELLED = Calibrated("toy", "bdm_kit_diffusion", ("factor",), features=2, labelled=True)


def features_of(model: DiffusionModel, params: ToyParams, seed: int, device: str) -> list[float]:
    return [params.factor * seed, float(next(model.unet.parameters()).detach().sum())]


def run(detector: Calibrated, arguments: list[str], *own: Family) -> int:
    source = replace(DIFFUSION_MODELS, families=(*own, *DIFFUSION_MODELS.families))
    return calibrate(detector, Toy(), features_of, source, arguments)


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Three models that differ."""
    for number in range(3):
        save_model(changed(number), tmp_path / f"model-{number}")
    return [str(tmp_path / f"model-{number}") for number in range(3)]


def changed(number: int) -> DiffusionModel:
    model = load_model(BUILTIN / "digits-tiny")
    with torch.no_grad():
        next(model.unet.parameters()).add_(0.1 * number)
    return model


def test_command_writes_what_read_takes(tmp_path: Path, folders: list[str]) -> None:
    out = tmp_path / "mine.json"
    arguments = ["--clean", *folders, "--set", "factor=2", "--seed", "7", "--out", str(out)]
    assert run(ONE_CLASS, arguments) == 0
    known = ONE_CLASS.read(out)
    assert [record.name for record in known.records] == ["model-0", "model-1", "model-2"]
    assert known.column() == [14, 16, 18] and known.records[0].shape == SHAPE
    assert known.configuration == {"factor": 2.0}
    assert known.recipe == "python -m bdm_kit_diffusion.calibrate " + " ".join(arguments)
    assert not any(record.backdoored for record in known.records)
    assert ONE_CLASS.warnings(ToyParams(factor=2, rate=0.5), known) == []
    assert "factor" in ONE_CLASS.warnings(ToyParams(), known)[0]


def test_backdoored_models_are_labelled_and_kept_from_the_clean_ones(tmp_path: Path, folders: list[str]) -> None:
    out = tmp_path / "mine.json"
    assert run(LABELLED, ["--backdoored", folders[2], "--clean", *folders[:2], "--out", str(out)]) == 0
    known = LABELLED.read(out)
    assert [record.backdoored for record in known.records] == [False, False, True]
    assert known.column() == [1000, 1001] and known.clean() == [record.features for record in known.records[:2]]
    with pytest.raises(UserError, match="clean models only"):
        ONE_CLASS.read(out)


def test_only_detectors_that_learn_from_backdoored_models_have_the_option(
    tmp_path: Path, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(ONE_CLASS, ["--backdoored", folders[0], "--out", str(tmp_path / "mine.json")])
    assert "--backdoored" in capsys.readouterr().err and not (tmp_path / "mine.json").exists()


def test_a_file_without_labels_is_one_of_clean_models(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    record = {"name": "c", "shape": SHAPE, "features": [1.0, 2.0]}
    file.write_text(json.dumps({"recipe": "", "configuration": {}, "records": [record]}), encoding="utf-8")
    for detector in (ONE_CLASS, LABELLED):
        assert detector.read(file).clean() == [[1.0, 2.0]]


def test_the_fingerprint_knows_the_label() -> None:
    files = [
        Calibration(
            recipe="",
            configuration={},
            records=[ModelRecord(name="m", shape=SHAPE, features=[1.0, 2.0], backdoored=label)],
        )
        for label in (False, True)
    ]
    assert files[0].fingerprint() != files[1].fingerprint()


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="no calibration of toy: recipe"):
        ONE_CLASS.read(file)
    record = {"name": "c", "shape": SHAPE, "features": [1.0]}
    file.write_text(json.dumps({"recipe": "", "configuration": {}, "records": [record]}), encoding="utf-8")
    with pytest.raises(UserError, match="needs 2 features a model"):
        ONE_CLASS.read(file)
    with pytest.raises(UserError, match="cannot read"):
        ONE_CLASS.read(tmp_path / "none.json")


def test_a_detector_can_bring_clean_models_of_its_own(tmp_path: Path) -> None:
    def make(count: int, device: str) -> Iterator[tuple[str, DiffusionModel]]:
        for number in range(count):
            yield f"own {number}", changed(number)

    out = tmp_path / "mine.json"
    own = Family("own", "so many of its own", make)
    assert run(ONE_CLASS, ["--own", "2", "--out", str(out)], own) == 0
    assert [record.name for record in ONE_CLASS.read(out).records] == ["own 0", "own 1"]
    with pytest.raises(SystemExit):
        run(ONE_CLASS, ["--own", "2", "--out", str(out)])


@pytest.mark.parametrize("arguments", [["--clean", "nowhere"], ["--set", "none=1"], ["--fine-tuned", "none", "1"]])
def test_what_cannot_be_done_is_an_error_without_a_file(tmp_path: Path, arguments: list[str]) -> None:
    out = tmp_path / "mine.json"
    assert run(ONE_CLASS, [*arguments, "--out", str(out)]) != 0 and not out.exists()


def test_values_are_json_or_text() -> None:
    assert read_pair("epochs=[20, 4]") == ("epochs", [20, 4])
    assert read_pair("starts=library") == ("starts", "library")
    assert read_pair("antithetic=false") == ("antithetic", False)
