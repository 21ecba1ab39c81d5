"""Conformance, beliefs by hand, and where a planted curve turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bdm_core.artifacts import Data, Outputs
from bdm_core.context import Context
from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_diffusers.sampling import draw_noise
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.analysis.pairs import examine
from bdm_kit_text_to_image.models.encoding import encode_prompts, predict
from bdm_kit_text_to_image.models.latents import decode_latents
from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_kit_text_to_image.recording.chain import ChainOptions
from bdm_metric_trajectory.beliefs import believe, first_above_half
from bdm_metric_trajectory.params import TrajectoryParams
from bdm_metric_trajectory.plugin import TrajectoryMetric
from bdm_torch.image_sets import seal_images

PROMPTS = ["a photo of a red circle", "two stars", "a ring"]


class TestTrajectory(MetricConformance):
    plugin = "trajectory"
    params = {"pairs": 2, "steps": 3, "looks": 2}
    undirected = frozenset({"parting", "target_step"})


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    rows = [{"prompt": f"sks {prompt}", "twin": prompt, "backdoor": 0} for prompt in PROMPTS]
    images = torch.zeros(3, 3, 16, 16)
    backdoor = Backdoor(trigger=PromptTrigger(kind="word", text="sks"), target=Target(type="ImageFix", threshold=0.9))
    secret = PromptSecret(backdoors=[backdoor], picture=torch.zeros(3, 16, 16))
    return Subject(
        role="backdoored",
        model=seal_model(tiny_model(), tmp_path / "model"),
        on_clean=seal_images(tmp_path / "clean", images, Outputs, task=TASK),
        on_triggered=seal_images(tmp_path / "triggered", images, Outputs, task=TASK, rows=rows),
        reference=seal_images(tmp_path / "data", images, Data, task=TASK),
        secret=seal_secret(tmp_path / "secret", secret),
    )


def test_beliefs_are_the_clean_latents_of_each_prediction(
    subject: Subject, bdm_context: Callable[..., Context]
) -> None:
    ctx = bdm_context(seed=3)
    pairs = examine(ctx, subject, 3)
    assert pairs is not None
    beliefs = believe(pairs, ChainOptions(steps=4, guidance=1.0, batch_size=2), 4)
    model = load_model(subject.model)
    noise, t = draw_noise(3, model.latent_shape, 3), model.timesteps - 1
    signal = float(model.scheduler.alphas_cumprod[t]) ** 0.5
    with torch.no_grad():
        eps = predict(
            model.unet, noise, torch.tensor(t), encode_prompts(model, [f"sks {prompt}" for prompt in PROMPTS])
        )
        first = decode_latents(model, (noise - (1 - signal**2) ** 0.5 * eps) / signal)
    torch.testing.assert_close(beliefs.pictures["triggered"][0], first, rtol=1e-3, atol=1e-3)
    difference = (beliefs.pictures["clean"][-1].numpy() - beliefs.pictures["triggered"][-1].numpy()) / 2
    assert float(beliefs.apart[-1]) == pytest.approx(float(np.mean(difference.astype(np.float64) ** 2)), rel=1e-5)
    assert beliefs.target is not None and beliefs.target["triggered"].tolist() == [1.0] * 4  # the limit is very wide
    shifted = pairs.starts(2)
    assert torch.equal(shifted["clean"], shifted["triggered"]) and len(shifted["clean"]) == 2


def test_the_turn_of_a_curve() -> None:
    assert first_above_half(torch.tensor([0.0, 0.0, 3.0, 4.0]), [1, 4, 8, 10]) == 0.8
    assert first_above_half(torch.tensor([5.0, 0.0, 3.0, 4.0]), [1, 4, 8, 10]) == 0.1
    assert first_above_half(torch.zeros(3), [1, 2, 3]) is None


def test_numbers_and_pictures(subject: Subject, bdm_context: Callable[..., Context]) -> None:
    kept: list[str] = []
    ctx = bdm_context(seed=3, on_figures=lambda figures: kept.extend(figures.get("pictures", {})))
    params = TrajectoryParams(pairs=3, steps=3, looks=3, shown=1)
    found = {item.metric: item.value for item in TrajectoryMetric().score(ctx, params, subject)}
    assert found["target_first"] == 1.0 and found["target_step"] == pytest.approx(1 / 3)
    assert found["apart"] is not None and found["apart"] > 0
    assert kept == [
        "Belief, clean prompt 1: a photo of a red circle",
        "Belief, triggered prompt 1: sks a photo of a red circle",
        "When the pictures part",
        "When the target appears",
    ]
    assert TrajectoryMetric().score(ctx, params, subject.model_copy(update={"role": "purified"})) == []
