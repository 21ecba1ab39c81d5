"""Classes of a model and of data are matched by name; the kit's commands end with one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from bdm_core.errors import UserError
from bdm_kit_classification.data.class_names import matching, relabelled
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.recipes import clean_model


def test_names_decide_and_numbers_keep_their_order() -> None:
    assert matching(["b", "A a", "c"], ["a_a", "b", "c"], "x") == [1, 0, 2]
    assert matching(["LABEL_0", "LABEL_1"], ["one", "two"], "x") == [0, 1]
    assert matching(["00001", "00000"], ["stop", "go"], "x") == [0, 1]
    with pytest.raises(UserError, match="x has a class 'three'"):
        matching(["three", "two"], ["one", "two"], "x")


def test_rows_get_the_models_numbers_roles_and_true_labels_too() -> None:
    facts = [{"id": 0}, {"id": 1, "role": "poison", "true_label": 1}, {"id": 2}]
    rows = LabelledSamples(torch.zeros(3, 1, 4, 4), torch.tensor([0, 0, -1]), ["b", "a"], "image-classification", facts)
    found = relabelled(rows, [1, 0], ["a", "b"])
    assert found.labels.tolist() == [1, 1, -1] and found.classes == ["a", "b"]
    assert found.facts == [{"id": 0}, {"id": 1, "role": "poison", "true_label": 0}, {"id": 2}]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("recipes.clean_model", ["--data", "./nowhere", "--out", "out"]),
        ("recipes.clean_model", ["--data", "digits", "--epochs", "-1", "--out", "out"]),
        ("recipes.clean_model", ["--data", "digits", "--out", "."]),
        ("poison.export", ["nowhere", "out"]),
    ],
)
def test_commands_of_the_kit_end_with_one_line(tmp_path: Path, module: str, arguments: list[str]) -> None:
    (tmp_path / "something").touch()
    command = [sys.executable, "-m", f"bdm_kit_classification.{module}", *arguments]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr.startswith("error: ") and len(found.stderr.splitlines()) == 1


def test_a_clean_model_takes_nothing_away_and_remembers_its_data(tmp_path: Path, monkeypatch, capsys) -> None:
    """A folder ``model`` beside it stays as it is, ``--out model`` works, a relative path of data becomes absolute."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (8, 8), (200 * label, number, 0)).save(tmp_path / "pictures" / name / f"{number}.png")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    options = ["clean_model", "--data", "./pictures", "--size", "8", "--epochs", "1", "--out"]
    monkeypatch.setattr(sys, "argv", [*options, "clean"])
    clean_model.main()
    assert (tmp_path / "model" / "mine.txt").read_text() == "mine"
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == ["config.json", "model.safetensors"]
    assert json.loads((tmp_path / "clean" / "config.json").read_text())["trained_on"] == str(tmp_path / "pictures")
    (tmp_path / "model" / "mine.txt").unlink()
    monkeypatch.setattr(sys, "argv", [*options, "model"])
    clean_model.main()
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
    assert '"out": "model"' in capsys.readouterr().out.splitlines()[-1]
