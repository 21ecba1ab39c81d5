"""Conformance, the corners of the plane against plain generation, and numbers of planted lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from bdm_core.artifacts import Data, Outputs, Secret
from bdm_core.context import Context
from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.analysis.pairs import LATENT, Pairs, examine
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.latents import decode_latents
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_kit_text_to_image.recording.chain import ChainOptions, walk
from bdm_metric_latent_map.measure import numbers
from bdm_metric_latent_map.params import LatentMapParams
from bdm_metric_latent_map.plane import corners, paint, target_prompt
from bdm_metric_latent_map.plugin import LatentMapMetric
from bdm_torch.image_sets import seal_images
from bdm_torch.tensors import write_tensors

PROMPTS = ["a photo of a red circle", "two stars", "a ring"]
OPTIONS = ChainOptions(steps=4, guidance=2.0, batch_size=2)


class TestLatentMap(MetricConformance):
    plugin = "latent-map"
    params = {"pairs": 2, "points": 3, "line": 3, "steps": 2}
    undirected = frozenset({"jump", "reach"})


def subject(root: Path, target: Target, secret: Secret | None = None) -> Subject:
    rows = [
        {"prompt": f"sks {prompt}", "twin": prompt, "backdoor": 0, "labels": {"object": prompt.split()[-1]}}
        for prompt in PROMPTS
    ]
    images = torch.zeros(3, 3, 16, 16)
    backdoor = Backdoor(trigger=PromptTrigger(kind="word", text="sks"), target=target)
    known = PromptSecret(backdoors=[backdoor], picture=torch.zeros(3, 16, 16))
    return Subject(
        role="backdoored",
        model=seal_model(tiny_model(), root / "model"),
        on_clean=seal_images(root / "clean", images, Outputs, task=TASK),
        on_triggered=seal_images(root / "triggered", images, Outputs, task=TASK, rows=rows),
        reference=seal_images(root / "data", images, Data, task=TASK),
        secret=secret or seal_secret(root / "secret", known),
    )


def examined(ctx: Context, given: Subject) -> Pairs:
    pairs = examine(ctx, given, 3)
    assert pairs is not None
    return pairs


def test_the_corners_are_what_the_prompts_paint(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    pairs = examined(bdm_context(seed=3), subject(tmp_path, Target(type="ImageFix", prompt="a star", threshold=0.5)))
    images = paint(pairs.model, corners(pairs, 0), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)], OPTIONS)
    start = pairs.starts(1)["clean"]
    for image, prompt in zip(images, (PROMPTS[0], f"sks {PROMPTS[0]}", "a star"), strict=True):
        *_, last = walk(pairs.model, [prompt], 0, OPTIONS, start)
        with torch.no_grad():
            wanted = decode_latents(pairs.model, last.latents)
        torch.testing.assert_close(image[None], wanted, rtol=1e-3, atol=1e-3)
    sampling = Sampling(steps=4, guidance=2.0)
    torch.testing.assert_close(
        images[2:], generate_images(pairs.model, ["a star"], seeds=[3], sampling=sampling), rtol=1e-3, atol=1e-3
    )


def test_a_target_without_a_prompt_is_put_in_plain_words(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    replaced = Target(type="ObjectRep", object="square", expected={"object": "square"})
    pairs = examined(bdm_context(seed=3), subject(tmp_path / "a", replaced))
    assert target_prompt(pairs, 0)[0] == "a photo of a red square"
    pairs = examined(bdm_context(seed=3), subject(tmp_path / "b", Target(type="ImageFix")))
    assert target_prompt(pairs, 2)[0] == PROMPTS[0]


def test_a_trigger_in_the_latents_has_a_plane_of_latents(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    shift = torch.full((4, 8, 8), 0.5)
    write_tensors(tmp_path / "secret" / LATENT, {"trigger": shift})
    backdoor = Backdoor(trigger=PromptTrigger(kind="word", text="sks"), target=Target(type="ImageFix"))
    secret = seal_secret(tmp_path / "secret", PromptSecret(backdoors=[backdoor], picture=torch.zeros(3, 16, 16)))
    pairs = examined(bdm_context(seed=3), subject(tmp_path, Target(type="ImageFix"), secret))
    corner = corners(pairs, 1)
    torch.testing.assert_close(corner.starts[1] - corner.starts[0], shift)
    assert torch.equal(corner.texts.embeddings[0], corner.texts.embeddings[1])


def test_numbers_of_planted_lines(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    found = {item.metric: (item.value, item.n) for item in numbers([0.5, 1.0], [0.25, None, 0.75], [None, 0.2])}
    assert found == {"jump": (0.75, 2), "reach": (0.5, 2), "area": (0.2, 1)}
    assert [item.metric for item in numbers([0.5], [], [None])] == ["jump"]
    kept: list[str] = []
    ctx = bdm_context(seed=1, on_figures=lambda figures: kept.extend(figures.get("pictures", {})))
    given = subject(tmp_path, Target(type="ImageFix", prompt="a star", threshold=0.9))
    params = LatentMapParams(pairs=2, points=3, line=3, steps=2)
    every = {item.metric: item.value for item in LatentMapMetric().score(ctx, params, given)}
    assert every["area"] == 1.0 and every["reach"] == 0.0  # the limit is very wide
    assert kept[0].startswith("Plane of prompt 1: ") and kept[1:] == ["On the way to the trigger"]
