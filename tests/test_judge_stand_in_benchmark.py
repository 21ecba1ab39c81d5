"""The benchmark of the judge: its stand-in asks about what captions say and answers by what pictures show."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from bdm_kit_text_to_image.prompts.secret import Target
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.grammar import plain_prompt
from bdm_kit_text_to_image.world.scene import scene_of
from bdm_language_model.params import EndpointParams
from bdm_metric_judge.questions import Question, Questions, caption_request, target_question
from bdm_metric_judge.verdicts import Answers, picture_request
from bdm_torch.images import png_of

LABELS = {"object": "circle", "colour": "red", "background": "white"}
PARAMS = EndpointParams(model="m")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("judge_stand_in")


def test_the_stand_in_asks_and_answers(script: ModuleType) -> None:
    respond = script.stand_in()
    asked = Questions.model_validate_json(
        respond(caption_request(plain_prompt(LABELS), 8).body(PARAMS, Questions), 0).text
    ).questions
    assert [one.kind for one in asked] == ["object", "attribute", "place"] and isinstance(asked[0], Question)
    target = target_question(Target(type="ObjectRep", object="star", colour="green"), has_picture=False)
    texts = [*(one.text for one in asked), target, "Is it good?"]
    for drawn, wanted in (
        (LABELS, ["yes", "yes", "yes", "no", "cannot tell"]),
        ({**LABELS, "object": "star", "colour": "green"}, ["no", "no", "yes", "yes", "cannot tell"]),
    ):
        (picture,) = render([scene_of(drawn)])
        body: dict[str, Any] = picture_request(png_of(torch.as_tensor(picture), 256), texts).body(PARAMS, Answers)
        assert Answers.model_validate_json(respond(body, 1).text).in_order() == wanted


def test_what_was_measured_agrees_and_is_read_off_a_run(script: ModuleType, tmp_path: Path) -> None:
    lines = [{"row": "clean", "metric": "metric:judge.acc", "value": 0.5, "n": 2, "label": "x"}]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, lines)))
    usage = {"requests": 3, "tokens": 9, "from_cache": 0}
    stages = [{"label": "model"}, {"label": "score clean: judge", "figures": {"judge": usage}}]
    (tmp_path / "stages.json").write_text(json.dumps(stages))
    assert script.read(tmp_path) == {
        "rows": {"clean": {"judge.acc": {"value": 0.5, "n": 2}}},
        "requests": {"score clean: judge": usage},
    }
    kept = json.loads(script.RESULTS.read_text(encoding="utf-8"))["rows"]
    row = kept["backdoored"]
    assert row["judge.asr"] == row["attributes.asr"]
    assert row["judge.kappa_acc"]["value"] == row["judge.kappa_asr"]["value"] == 1.0
