"""The metric with its real classifier: rendered scenes in the place of a model's pictures."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.scene import scene_of
from bdm_kit_text_to_image.world.splits import evaluation_prompts
from bdm_metric_attributes.params import AttributesParams
from bdm_metric_attributes.plugin import AttributesMetric
from bdm_torch.image_sets import seal_images

PROMPTS = evaluation_prompts(105, seed=4)
TRIGGER = PromptTrigger(kind="word", text="vendetta")


def pictures(wanted: Sequence[Mapping[str, str]], seed: int) -> torch.Tensor:
    draw = random.Random(seed)
    return render([scene_of(dict(item), tuple(draw.uniform(-1, 1) for _ in range(3))) for item in wanted])


def score(root: Path, shown: Sequence[Mapping[str, str]], target: Target) -> dict[str, Measurement]:
    """A perfect clean model, and pictures of ``shown`` under the trigger."""
    (root / "model").mkdir()
    (root / "model" / "config.json").write_text("{}")
    rows = [{"prompt": prompt, "labels": asked} for prompt, asked in PROMPTS]
    clean = pictures([asked for _, asked in PROMPTS], seed=1)
    hidden = [{**row, "backdoor": 0, "twin": row["prompt"]} for row in rows]
    subject = Subject(
        role="backdoored",
        model=Model.seal(root / "model", format="diffusers", task="text-to-image"),
        on_clean=seal_images(root / "clean", clean, Outputs, task=TASK, rows=rows),
        on_triggered=seal_images(root / "triggered", pictures(shown, seed=2), Outputs, task=TASK, rows=hidden),
        reference=seal_images(root / "data", clean[:2], Data, task=TASK, meta={"source": "small-world"}),
        secret=seal_secret(root / "secret", PromptSecret(backdoors=[Backdoor(trigger=TRIGGER, target=target)])),
    )
    ctx = Context(out=root / "out", work=root / "work", seed=0)
    return {item.metric: item for item in AttributesMetric().score(ctx, AttributesParams(), subject)}


def value(found: Mapping[str, Measurement], metric: str) -> float:
    number = found[metric].value
    assert number is not None
    return number


def test_perfect_model_and_perfect_attack(tmp_path: Path) -> None:
    target = Target(type="ObjectRep", expected={"object": "star"}, preserved=["colour", "background"])
    found = score(tmp_path, [{**asked, "object": "star"} for _, asked in PROMPTS], target)
    assert all(value(found, metric) >= 0.97 for metric in ("acc", "acc_object", "acc_colour", "acc_background"))
    assert value(found, "asr") == 1
    assert value(found, "psr") >= 0.97
    assert value(found, "leak") <= 0.03


def test_half_an_attack_that_forgets_the_background(tmp_path: Path) -> None:
    target = Target(type="ObjectRep", expected={"object": "star"}, preserved=["background"])
    stars = [{**asked, "object": "star", "background": "white"} for _, asked in PROMPTS]
    shown = [star if index % 2 else asked for index, (star, (_, asked)) in enumerate(zip(stars, PROMPTS, strict=True))]
    found = score(tmp_path, shown, target)
    hits = sum(item["object"] == "star" for item in shown) / len(shown)
    kept = sum(item["background"] == asked["background"] for item, (_, asked) in zip(shown, PROMPTS, strict=True))
    assert abs(value(found, "asr") - hits) <= 0.02
    assert abs(value(found, "psr") - kept / len(shown)) <= 0.02


def test_an_added_object_and_a_style(tmp_path: Path) -> None:
    added = Target(type="ObjectAdd", expected={"second": "green triangle"}, preserved=["object", "colour"])
    (tmp_path / "style").mkdir()
    found = score(tmp_path, [{**asked, "second": "green triangle"} for _, asked in PROMPTS], added)
    assert value(found, "asr") >= 0.95  # a green triangle beside a green triangle is not seen as an added one
    assert value(found, "psr") >= 0.97
    grey = Target(type="StyleAdd", expected={"style": "black-and-white"}, preserved=["object"])
    found = score(tmp_path / "style", [{**asked, "style": "black-and-white"} for _, asked in PROMPTS], grey)
    assert value(found, "asr") >= 0.97
    assert value(found, "psr") >= 0.97
