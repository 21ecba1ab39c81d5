"""Detectors of text-to-image models without clean models: a scan says so and how to calibrate, and then uses that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bdm_cli.calibration import write_calibration
from bdm_core.api import scan
from bdm_core.discovery.candidates import find
from bdm_core.plugin import Defense
from bdm_core.run.specification import specify
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_torch.calibration_file import Calibration

PLUGINS = Path(__file__).parents[1] / "plugins" / "text-to-image"
TASK = "text-to-image"


@pytest.mark.parametrize("name", ["elijah", "terd"])
def test_a_scan_cannot_tell_until_clean_models_are_known(name: str, tmp_path: Path) -> None:
    defense = find("defense", name, TASK).load()
    assert isinstance(defense, Defense)
    none = tmp_path / "none.json"
    none.write_text(Calibration(recipe="by hand", configuration={}, records=[]).model_dump_json(), encoding="utf-8")
    params = {f"defense:{name}": {**defense.tiny_params, "calibration": str(none)}}
    options: dict[str, Any] = {"task": TASK, "device": "cpu", "detectors": [name]}
    suspect = tmp_path / "suspect"
    seal_model(tiny_model(), suspect)
    view = scan(suspect, out=tmp_path / "runs", **options, params=params)
    (found,) = view.record["detections"].values()
    assert view.verdict == found["verdict"] == "not identifiable" and found["p_value"] is None
    calibrating = f"bdm calibrate {name} --task text-to-image --model"
    using = f"--set defense:{name}.calibration="
    assert "cannot tell: no clean models are known" in found["note"]
    assert calibrating in found["note"] and using in found["note"]
    readme = (PLUGINS / f"bdm-defense-{name}-text-to-image" / "README.md").read_text(encoding="utf-8")
    assert calibrating in readme and using in readme and '"cannot tell"' in readme

    clean = [tmp_path / f"clean-{number}" for number in range(3)]
    for folder in clean:
        seal_model(tiny_model(), folder)
    file = tmp_path / "calibration.json"
    spec = specify({"detect": name, "task": TASK, "device": "cpu", "params": params})
    write_calibration(spec, [str(folder) for folder in clean], file, tmp_path / "runs")
    assert len(json.loads(file.read_text(encoding="utf-8"))["records"]) == 3
    params[f"defense:{name}"]["calibration"] = str(file)
    view = scan(suspect, out=tmp_path / "runs", **options, params=params)
    (found,) = view.record["detections"].values()
    assert "no clean models are known" not in found["note"]
