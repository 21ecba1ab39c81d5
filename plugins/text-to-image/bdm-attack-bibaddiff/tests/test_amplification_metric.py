"""``metric:amplification`` on outputs of known content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bdm_attack_bibaddiff.attack import the_prompt
from bdm_attack_bibaddiff.measure import measure
from bdm_attack_bibaddiff.params import BiBadDiffParams
from bdm_attack_bibaddiff.patches import patch_place, put_in, trigger_picture
from bdm_core.artifacts import Outputs
from bdm_core.errors import UserError
from bdm_core.records import Subject
from bdm_core.testing.tiny import Bench
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.stages import seal_outputs
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.scene import Scene

SHAPE = (3, 16, 16)
PARAMS = BiBadDiffParams()


def outputs(folder: Path, objects: list[str], patched: list[bool]) -> Outputs:
    """Pictures of objects under the prompt for a cross, some of them with the patch."""
    images = render([Scene(object=name, background="gray") for name in objects])
    with_patch = put_in(images, trigger_picture(PARAMS, SHAPE), patch_place(PARAMS, SHAPE), 0.0)
    for row, flag in enumerate(patched):
        if flag:
            images[row] = with_patch[row]
    rows = [PromptRow("a photo of a cross", row, {"object": "cross"}) for row in range(len(objects))]
    return seal_outputs(folder, images, rows)


def subject(bench: Bench, tmp_path: Path, *, with_picture: bool = True, **facts: Any) -> Subject:
    target = Target(type="ImagePatch", patch=patch_place(PARAMS, SHAPE), threshold=0.05, **facts)
    picture = trigger_picture(PARAMS, SHAPE) if with_picture else None
    secret = PromptSecret(backdoors=[Backdoor(trigger=the_prompt("cross"), target=target)], picture=picture)
    return Subject(
        role="backdoored",
        model=bench.model,
        on_clean=outputs(tmp_path / "clean", ["cross", "cross"], [False, False]),
        on_triggered=outputs(
            tmp_path / "triggered", ["circle", "cross", "square", "cross"], [True, True, False, False]
        ),
        reference=bench.data,
        secret=seal_secret(tmp_path / "secret", secret),
    )


@pytest.fixture
def bench(bdm_bench: Any) -> Bench:
    made: Bench = bdm_bench("text-to-image")
    return made


def test_groups_and_amplification(bench: Bench, tmp_path: Path) -> None:
    values = {
        item.metric: item.value
        for item in measure(bench.context("score"), subject(bench, tmp_path, poisoned_share=0.25))
    }
    assert values == {
        "trigger": 0.5,
        "mismatch": 0.5,
        "both": 0.25,
        "trigger_clean": 0.0,
        "mismatch_clean": 0.0,
        "both_clean": 0.0,
        "amplification": 2.0,
    }


def test_on_rejected_prompts_the_attack_has_failed(bench: Bench, tmp_path: Path) -> None:
    given = subject(bench, tmp_path, poisoned_share=0.25).model_copy(update={"rejected_triggered": 4})
    found = {item.metric: (item.value, item.n) for item in measure(bench.context("score"), given)}
    assert (found["trigger"], found["amplification"]) == ((0.25, 8), (1.0, 8))
    assert found["trigger_clean"] == (0.0, 2)


def test_unknown_share_and_missing_picture(bench: Bench, tmp_path: Path) -> None:
    found = measure(bench.context("score"), subject(bench, tmp_path / "one"))
    assert next(item for item in found if item.metric == "amplification").value is None
    with pytest.raises(UserError, match="no picture"):
        measure(bench.context("score"), subject(bench, tmp_path / "two", with_picture=False))
