"""A downloaded classifier that does not say which data it was trained on: judged by what needs none."""

import json
import shutil
from pathlib import Path

import pytest

from bdm_core import api
from bdm_core.errors import UserError
from bdm_kit_classification.built_in import BUILTIN
from bdm_kit_classification.data.absent import NEEDED

OPTIONS = {"device": "cpu", "observers": []}
LOOKING = ["neural-cleanse", "tabor"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As somebody else would publish it."""
    found = tmp_path_factory.mktemp("downloaded") / "model"
    shutil.copytree(BUILTIN / "tiny", found, copy_function=shutil.copyfile)
    config = json.loads((found / "config.json").read_text())
    (found / "config.json").write_text(json.dumps({**config, "trained_on": ""}))
    return found


def test_weights_are_judged_and_the_others_say_what_they_lack(folder: Path, tmp_path: Path) -> None:
    asked = ["last-layer-scan", "classifier-audit", *LOOKING]
    view = api.scan(folder, out=tmp_path, detectors=asked, **OPTIONS)
    assert set(view.record["detections"]) == {"last-layer-scan", "classifier-audit"}
    assert view.record["not_checked"] == dict.fromkeys(LOOKING, NEEDED) and "--data" in NEEDED
    audit = view.record["detections"]["classifier-audit"]
    assert audit["note"].startswith("by the weights alone, since there are no clean pictures (--data): ")
    assert audit["clean_samples"] == 0
    costs = [entry["figures"]["cost"] for entry in view.stages if entry["label"].startswith("detection by")]
    assert [cost["clean_samples"] for cost in costs] == [0, 0]


def test_weights_only_is_the_same_and_needs_no_remark(folder: Path, tmp_path: Path) -> None:
    params = {"defense:classifier-audit": {"weights_only": True}}
    view = api.scan(folder, out=tmp_path, detectors=["classifier-audit"], params=params, **OPTIONS)
    assert "since there are no clean pictures" not in view.record["detections"]["classifier-audit"]["note"]
    named = api.scan(folder, out=tmp_path, detectors=["classifier-audit"], params=params, data="tiny", **OPTIONS)
    scores = {item.record["detections"]["classifier-audit"]["score"] for item in (view, named)}
    assert len(scores) == 1


def test_with_data_the_others_judge_it_too(folder: Path, tmp_path: Path) -> None:
    params = {"defense:neural-cleanse": {"inversion_steps": 10}}
    view = api.scan(folder, out=tmp_path, detectors=["neural-cleanse"], data="tiny", params=params, **OPTIONS)
    assert set(view.record["detections"]) == {"neural-cleanse"}


def test_what_cannot_go_on_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs clean data, and the model does not say .* with --data"):
        api.scan(folder, out=tmp_path, detectors=["neural-cleanse"], **OPTIONS)
    reference = {"defense:classifier-audit": {"reference": "tiny"}}
    with pytest.raises(UserError, match="needs clean data"):
        api.scan(folder, out=tmp_path, detectors=["classifier-audit"], params=reference, **OPTIONS)
    run = {"attack": "badnets", "model": str(folder), "out": tmp_path, **OPTIONS}
    with pytest.raises(UserError, match="needs clean data"):
        api.run(**run)
    with pytest.raises(UserError, match="needs clean data"):
        api.run(repair="clp", **run)
    with pytest.raises(UserError, match="name other data"):
        api.run(repair="anp", **run)
