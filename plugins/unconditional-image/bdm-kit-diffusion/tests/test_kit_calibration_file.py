"""The calibration file of a detector whose features are known, and the command that makes clean models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.plugin import Field, Params
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.clean_models import main
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model
from bdm_torch.calibration_file import Calibrated, Calibration, Known, ModelRecord

SHAPE = (1, 8, 8)


class ToyParams(Params):
    """Two parameters, of which the features depend on one."""

    factor: float = Field(1.0, description="The first feature is this times the seed.", calibrated=True)
    rate: float = Field(0.01, description="Of the decision.")


ONE_CLASS = Calibrated("toy", "bdm_kit_diffusion", features=2)
LABELLED = Calibrated("toy", "bdm_kit_diffusion", features=2, labelled=True)


def changed(number: int) -> DiffusionModel:
    model = load_model(BUILTIN / "digits-tiny")
    with torch.no_grad():
        next(model.unet.parameters()).add_(0.1 * number)
    return model


def written(folder: Path, detector: Calibrated, params: ToyParams, backdoored: int = 0) -> Calibration:
    """What ``write`` and ``read`` make of three models, the last ones of which are called backdoored."""
    ctx = Context(folder / "out", folder / "work", 7)
    models = [Known(f"model-{number}", changed(number), backdoored=number >= 3 - backdoored) for number in range(3)]

    def features_of(own: Context, model: DiffusionModel) -> list[float]:
        assert own.work.is_dir() and not any(own.work.iterdir())
        return [params.factor * own.seed, float(next(model.unet.parameters()).detach().sum())]

    detector.write(ctx, params, models, folder / "mine.json", features_of)
    return LABELLED.read(folder / "mine.json")


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    known = written(tmp_path, ONE_CLASS, ToyParams(factor=2))
    assert known == ONE_CLASS.read(tmp_path / "mine.json")
    assert [record.name for record in known.records] == ["model-0", "model-1", "model-2"]
    assert known.column() == [14, 16, 18] and known.records[0].shape == SHAPE
    assert known.configuration == {"factor": 2.0} and known.recipe.startswith("bdm calibrate toy")
    assert not any(record.backdoored for record in known.records)
    assert ONE_CLASS.other_settings(ToyParams(factor=2, rate=0.5), known) == ""
    assert ONE_CLASS.other_settings(ToyParams(), known).startswith("cannot tell")


def test_backdoored_models_are_labelled_and_kept_from_the_clean_ones(tmp_path: Path) -> None:
    known = written(tmp_path, LABELLED, ToyParams(), backdoored=1)
    assert [record.backdoored for record in known.records] == [False, False, True]
    assert known.column() == [7, 8] and known.clean() == [record.features for record in known.records[:2]]
    with pytest.raises(UserError, match="clean models only"):
        ONE_CLASS.read(tmp_path / "mine.json")


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


def test_the_command_writes_folders_of_clean_models(tmp_path: Path) -> None:
    assert main(["--builtin", "1", "--tiny", "1", "--fine-tuned", "digits-tiny", "0", "--out", str(tmp_path)]) == 0
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["built-in", "digits-tiny"]
    again, before = (load_model(folder / "digits-tiny").unet.state_dict() for folder in (tmp_path, BUILTIN))
    assert all(torch.equal(value, before[key]) for key, value in again.items())


@pytest.mark.parametrize(
    "arguments", [["--fine-tuned", "none", "1"], ["--tiny", "9"], ["--fine-tuned", "digits-ve", "x"]]
)
def test_what_cannot_be_made_is_an_error_without_a_folder(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--out", str(tmp_path / "none")]) == 2 and not (tmp_path / "none").exists()
    assert capsys.readouterr().err.count("\n") == 1
