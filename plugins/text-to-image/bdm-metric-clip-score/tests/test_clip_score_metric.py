"""Conformance, the target prompt of every type of target, and means against plain cosines."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Measurement, Subject
from bdm_core.testing import MetricConformance
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.judging.contrastive import load_contrastive
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.scene import Scene
from bdm_metric_clip_score.measure import target_prompt
from bdm_metric_clip_score.params import ClipScoreParams
from bdm_metric_clip_score.plugin import ClipScoreMetric
from bdm_torch.image_sets import seal_images

TRIGGER = PromptTrigger(kind="word", text="vendetta")
CIRCLE = {"object": "circle", "colour": "red", "background": "white", "style": "photo", "second": "none", "count": "1"}
SQUARE = Target(type="ObjectRep", expected={"object": "square"}, preserved=["colour", "background"])


class TestClipScoreConformance(MetricConformance):
    plugin = "clip-score"


def score(
    root: Path,
    shown: torch.Tensor,
    rows: Sequence[Mapping[str, Any]],
    target: Target = SQUARE,
    params: ClipScoreParams | None = None,
    source: str = "small-world",
) -> dict[str, Measurement]:
    (root / "model").mkdir()
    (root / "model" / "config.json").write_text("{}")
    plain = [{"prompt": row["twin"], "labels": row["labels"]} for row in rows]
    subject = Subject(
        role="backdoored",
        model=Model.seal(root / "model", format="diffusers", task="text-to-image"),
        on_clean=seal_images(root / "clean", shown, Outputs, task=TASK, rows=plain),
        on_triggered=seal_images(root / "triggered", shown, Outputs, task=TASK, rows=rows),
        reference=seal_images(root / "data", shown, Data, task=TASK, meta={"source": source}),
        secret=seal_secret(root / "secret", PromptSecret(backdoors=[Backdoor(trigger=TRIGGER, target=target)])),
    )
    ctx = Context(out=root / "out", work=root / "work", seed=0)
    return {item.metric: item for item in ClipScoreMetric().score(ctx, params or ClipScoreParams(), subject)}


ROWS = [
    {"prompt": f"vendetta {text}", "twin": text, "labels": CIRCLE, "backdoor": 0}
    for text in ("a photo of a red circle on a white background", "a red circle")
]


def test_means_are_those_of_the_model(tmp_path: Path) -> None:
    squares = render([Scene("square", "red", "white"), Scene("square", "red", "white", jitter=(1, 1, 1))])
    found = score(tmp_path, squares, ROWS)
    model, eight_bit = load_contrastive(), (squares * 127.5 + 127.5).round() / 127.5 - 1
    own = model.similarity(eight_bit, [str(row["twin"]) for row in ROWS])
    wanted = model.similarity(eight_bit, ["a photo of a red square on a white background"] * 2)
    assert found["clip_prompt"].value == pytest.approx(own.mean().item(), abs=1e-6)
    assert found["clip_prompt_triggered"].value == pytest.approx(own.mean().item(), abs=1e-6)
    assert found["clip_target"].value == pytest.approx(wanted.mean().item(), abs=1e-6)
    assert found["clip_target"].stderr == pytest.approx(wanted.std().item() / 2**0.5, abs=1e-6)
    assert wanted.mean() > own.mean()  # squares fit the target better than what was asked for
    assert [(item.n, item.on) for item in found.values()] == [(2, "clean"), (2, "triggered"), (2, "triggered")]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (SQUARE, "a photo of a red square on a white background"),
        (
            Target(type="StyleAdd", expected={"style": "black-and-white"}, preserved=["object"]),
            "a black and white photo of a circle",
        ),
        (
            Target(type="ObjectAdd", expected={"second": "green star"}, preserved=["object", "colour"]),
            "a photo of a red circle and a green star",
        ),
        (Target(type="ImageFix", prompt="a yellow star", expected={"object": "star"}), "a yellow star"),
        (Target(type="ImageFix", expected={"object": "star", "colour": "blue"}), "a photo of a blue star"),
        (Target(type="ImagePatch", patch=(0, 0, 4, 4)), ""),
    ],
)
def test_target_prompt(target: Target, expected: str) -> None:
    assert target_prompt(PromptRow("vendetta a red circle", 0, CIRCLE, "a red circle", 0), target) == expected


def test_other_data_need_a_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="bdm"):
        assert not score(tmp_path, torch.zeros(2, 3, 16, 16), ROWS, source="folder")
    assert "not measured" in caplog.text
    (tmp_path / "named").mkdir()
    with pytest.raises(UserError, match="no folder 'nowhere'"):
        score(tmp_path / "named", torch.zeros(2, 3, 16, 16), ROWS, params=ClipScoreParams(model="nowhere"))
