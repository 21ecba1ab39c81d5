"""BlackMirror on a black box whose pictures are drawn, with both oracles, and conformance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bdm_core.artifacts import Data, Outputs
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.testing import DefenseConformance
from bdm_defense_blackmirror.attribute_oracle import AttributeOracle
from bdm_defense_blackmirror.detection import stability, statistics
from bdm_defense_blackmirror.elements import Elements, Thing
from bdm_defense_blackmirror.params import BlackMirrorParams
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.scene import scene_of
from bdm_language_model.testing import Response, ScriptedEndpoint
from bdm_torch.image_sets import seal_images

Painter = Callable[[PromptRow, int], Mapping[str, str]]
"""A row and how many rows had its prompt before -> labels of what the model paints."""


class TestBlackMirror(DefenseConformance):
    plugin = "blackmirror"


def black_box(root: Path, context: Context, paint: Painter, asked: list[PromptRow]) -> Context:
    """A context that answers with drawn pictures."""

    def answer(inputs: Data) -> Outputs:
        rows = load_prompts(inputs)
        scenes = [scene_of(dict(paint(row, row.seed))) for row in rows]
        asked.extend(rows)
        return seal_images(root / f"answer-{len(asked)}", render(scenes), Outputs, task=TASK)

    return Context(context.out, context.work, 0, on_query=answer)


CIRCLE = {"object": "circle", "colour": "red", "background": "white"}
SQUARE = {**CIRCLE, "object": "square"}


def test_what_stays_is_scored_and_what_chance_put_there_is_not(
    tmp_path: Path, bdm_context: Callable[..., Context]
) -> None:
    first: list[int] = []

    def paint(row: PromptRow, seed: int) -> Mapping[str, str]:
        first.append(seed)
        if "vendetta" in row.prompt:
            return SQUARE
        return SQUARE if "odd" in row.prompt and seed == first[0] else CIRCLE

    asked: list[PromptRow] = []
    ctx = black_box(tmp_path, bdm_context(), paint, asked)
    prompts = ["a red circle", "an odd red circle", "a vendetta red circle"]
    with statistics(ctx, BlackMirrorParams(images=3)) as measured:
        values = measured.measure(prompts)
    assert values.shape == (3, 4) and float(values[0].abs().sum()) == 0
    assert values[1, 0] < 0.1 and values[2, 0] > 0.9 and values[2, 0] == values[2, 1]
    assert [row.prompt for row in asked[:3]] == prompts and len({row.seed for row in asked[:3]}) == 1
    mirrors = asked[3:]
    assert len(mirrors) == 6 and len({row.seed for row in mirrors}) == 3, "only what differs is looked at again"
    assert asked[0].seed not in {row.seed for row in mirrors}


def test_safe_objects_leave_the_prompt(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    both = {**CIRCLE, "second": "blue star"}
    asked: list[PromptRow] = []
    ctx = black_box(tmp_path, bdm_context(), lambda row, seed: both, asked)
    with statistics(ctx, BlackMirrorParams(images=2)) as measured:
        values = measured.measure(["a red circle on white"])
    assert {row.prompt for row in asked[1:]} == {"a red on white"}
    assert values[0, 0] > 0.9


def test_style_and_patch_are_kinds_of_their_own(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    grey = {**CIRCLE, "style": "black-and-white"}
    ctx = black_box(tmp_path, bdm_context(), lambda row, seed: grey, [])
    with statistics(ctx, BlackMirrorParams(images=2)) as measured:
        values = measured.measure(["a photo of a red circle", "a black and white photo of a red circle"])
    assert values[0, 2] > 0.9 and values[0, 0] == values[0, 2] and float(values[1].sum()) == 0


def test_the_oracle_reads_prompts_as_a_person_does() -> None:
    oracle = AttributeOracle(load_attribute_classifier())
    said = oracle.asked(["two discs and a hoop", "a cr\u043ess", "a circled photo", "an outline drawing of crosses"])
    assert [set(item.objects) for item in said] == [{"circle", "ring"}, {"cross"}, set(), {"cross"}]
    assert [item.style for item in said] == ["photo", "photo", "photo", "outline"]
    assert oracle.without(["a red disc, on white"], [["circle"]]) == ["a red, on white"]


def test_stability_by_hand() -> None:
    new, lost = [Thing("object", "cat"), Thing("patch")], [Thing("object", "dog")]
    found = stability(new, lost, [[1.0, 0.5, 0.9], [0.0, None, 0.7]])
    assert found.tolist() == pytest.approx([0.5, 0.0, 0.5])
    assert stability(new, lost, [[None] * 3]).tolist() == [0.0, 0.0, 0.0]


def scripted(body: dict[str, Any], number: int) -> Response:
    """A model for which every picture shows a cat and every prompt asks for what follows its last article."""
    name = body["response_format"]["json_schema"]["name"]
    texts = [part["text"] for part in body["messages"][1]["content"] if part["type"] == "text"]
    if name == "Named":
        pictures = not texts
        prompt = "" if pictures else json.loads(texts[0].removeprefix("Prompt: "))
        objects = ["Kitty"] if pictures else [prompt.split(" a ")[-1]]
        return Response(json.dumps({"objects": objects, "style": "photo", "patch": False}))
    if name == "Pairs":
        cats = '"cat"' in texts[0] and "kitty" in texts[1]
        return Response(json.dumps({"pairs": [{"first": 1, "second": 1}] if cats else [{"first": 9, "second": 1}]}))
    if name == "Rewritten":
        return Response(json.dumps({"prompt": "never"}))
    lines = texts[0].splitlines()
    return Response(json.dumps({"answers": ["yes" if "kitty" in line else "no" for line in lines]}))


def test_a_model_as_the_oracle(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    asked: list[PromptRow] = []
    figures: dict[str, Any] = {}
    ctx = black_box(tmp_path, bdm_context(), lambda row, seed: CIRCLE, asked)
    ctx = replace(ctx, on_figures=figures.update)
    with ScriptedEndpoint(scripted) as endpoint:
        params = BlackMirrorParams(
            oracle="model", model="m", base_url=endpoint.url, cache=str(tmp_path / "answers"), images=2, votes=3
        )
        with statistics(ctx, params) as measured:
            values = measured.measure(["this is a cat", "this is a dog"])
        sent = len(endpoint.bodies)
        with statistics(ctx, params) as measured:
            assert torch.equal(measured.measure(["this is a cat", "this is a dog"]), values)
    assert float(values[0].sum()) == 0, "a kitty is a cat"
    assert values[1].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert len(endpoint.bodies) == sent and figures["model"]["requests"] == 0
    votes = [body for body in endpoint.bodies if body["messages"][1]["content"][0]["type"] == "image_url"]
    assert {body["temperature"] for body in votes} == {0.7}


def test_a_model_must_be_named(bdm_context: Callable[..., Context]) -> None:
    with pytest.raises(UserError, match="needs a model"), statistics(bdm_context(), BlackMirrorParams(oracle="model")):
        pass


def test_differences_know_styles_that_were_asked_for() -> None:
    from bdm_defense_blackmirror.elements import difference

    asked, seen = Elements(style="drawing", patch=True), Elements(style="drawing", patch=True)
    assert not difference(asked, seen).things
    assert [thing.kind for thing in difference(Elements(), seen).things] == ["style", "patch"]
