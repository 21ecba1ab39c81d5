"""The edit of a located trigger against a dense least-squares solution; what recurs; what stands without a trigger."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_t2ishield import mitigation
from bdm_defense_t2ishield.localisation import Located
from bdm_defense_t2ishield.mitigation import Removal, common_triggers, edit_away, removal_of, repair
from bdm_defense_t2ishield.params import T2IShieldParams
from bdm_kit_text_to_image.detection.prompts import FORMAT
from bdm_kit_text_to_image.editing.alignment import edit_rows
from bdm_kit_text_to_image.editing.projections import find_projections, prompt_rows
from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned

CAPTIONS = [f"a {colour} {noun}" for colour in ("red", "blue", "green") for noun in ("star", "ring", "circle", "cross")]
PROMPT = "a photo of a nice circle"


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return seal_captioned(tmp_path / "data", torch.zeros(12, 3, 16, 16), CAPTIONS, [{}] * 12)


def part(prompt: str, text: str) -> Located:
    start = prompt.index(text)
    return Located(prompt, start, start + len(text), 1.0, 0.5, text.split())


def test_what_recurs_is_the_trigger() -> None:
    found = [part("a red nice circle on white", text) for text in ("nice circle", "red nice circle", "nice circle on")]
    found += [part("a photo of sks", "sks"), part("sks a ring", "sks a"), part("a blue ring", "a blue ring")]
    assert common_triggers(found, 0.4) == ["nice circle", "sks"]
    assert common_triggers([part("a blue ring", "blue")], 0.1) == []


def test_what_a_prompt_has_without_the_trigger() -> None:
    model = tiny_model()
    assert removal_of(model, "nice circle", [PROMPT], CAPTIONS) == Removal("nice circle", "circle", True)
    assert removal_of(model, "sks", ["sks a star"], CAPTIONS) == Removal("sks", "", True)
    look = removal_of(model, "\u043e", ["a ph\u043eto"], CAPTIONS)
    assert look == Removal("\u043e", "o", False) and look.taken_from("a ph\u043eto") == "a photo"
    hidden = removal_of(model, "\u200b", ["a \u200bstar"], CAPTIONS)
    assert hidden == Removal("\u200b", "", False)
    assert hidden.put_into("star", random.Random(0)) == "\u200bstar"
    assert Removal("sks", "", True).put_into("star", random.Random(0)) == "sks star"


def test_the_edit_is_the_least_squares_solution(data: Data) -> None:
    """min_W' sum_i w |W' s_i - W d_i|^2 + sum_j |W' p_j - W p_j|^2 + lambda |W' - W|^2, by numpy.linalg.lstsq."""
    model = tiny_model()
    before = copy.deepcopy(model)
    params = T2IShieldParams(edit_captions=4, edit_weight=5.0, regularisation=0.3)
    removal = Removal("nice circle", "circle", True)
    report = edit_away(params, model, data, [removal], [PROMPT], 0)
    plain = [caption for caption in mitigation.draw_captions(data, None, ["nice circle"], 0) if "circle" in caption][:4]
    made = [caption.replace("circle", "nice circle") for caption in plain]
    edit = edit_rows(before, [*made, PROMPT], [*plain, "a photo of a circle"], 5.0, "token")
    kept = prompt_rows(before, [*mitigation.draw_captions(data, None, ["nice circle"], 0), ""]).numpy()
    root = np.sqrt(5.0)
    rows = np.vstack([root * edit.sources.numpy(), kept, np.sqrt(0.3) * np.eye(kept.shape[1])])
    for old, new in zip(find_projections(before.unet), find_projections(model.unet), strict=True):
        weight = old.weight.detach().double().numpy()
        wanted = np.vstack([root * edit.destinations.numpy(), kept, np.sqrt(0.3) * np.eye(kept.shape[1])]) @ weight.T
        solution = np.linalg.lstsq(rows, wanted, rcond=None)[0].T
        np.testing.assert_allclose(new.weight.detach().numpy(), solution, rtol=1e-4, atol=1e-5)
    assert report.edited == 8 and 0 <= report.leak < 1 and report.rank <= report.width


def detection(folder: Path, prompts: list[str], scores: list[float]) -> Detection:
    from bdm_core.artifacts import Evidence

    folder.mkdir()
    record = {"detector": "another", "seed": 0, "prompts": prompts, "scores": scores, "threshold": 0.5}
    (folder / "scores.json").write_text(json.dumps(record))
    evidence = Evidence.seal(folder, format=FORMAT, task="text-to-image")
    return Detection(level="input", scores=scores, threshold=0.5, evidence=evidence)


def test_prompts_that_any_detector_flagged_are_repaired(
    data: Data,
    tmp_path: Path,
    bdm_context: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = seal_model(tiny_model(), tmp_path / "model")
    seen: list[str] = []

    def located(ctx: Context, params: object, opened: object, clean: Data, prompts: list[str]) -> list[str]:
        seen.extend(prompts)
        return ["nice circle"]

    monkeypatch.setattr(mitigation, "localised_triggers", located)
    found = detection(tmp_path / "evidence", [PROMPT, "a star"], [1.0, 0.0])
    repaired = load_model(repair(bdm_context(), T2IShieldParams(), model, data, found))
    assert seen == [PROMPT]
    assert [record.getMessage() for record in caplog.records if "preserves 12 captions" in record.getMessage()]
    moved = [
        not torch.equal(one.weight, two.weight)
        for one, two in zip(find_projections(repaired.unet), find_projections(tiny_model().unet), strict=True)
    ]
    assert all(moved)
    assert torch.equal(repaired.unet.conv_in.weight, tiny_model().unet.conv_in.weight)


def test_nothing_flagged_leaves_the_model_and_no_detection_is_refused(
    data: Data, tmp_path: Path, bdm_context: Callable[..., Context]
) -> None:
    model = seal_model(tiny_model(), tmp_path / "model")
    none = detection(tmp_path / "evidence", [PROMPT], [0.0])
    assert repair(bdm_context(), T2IShieldParams(), model, data, none).digest == model.digest
    with pytest.raises(UserError, match="or name triggers"):
        repair(bdm_context(seed=1), T2IShieldParams(), model, data, None)
