"""Conformance, and the numbers against NumPy on the maps of the kit's recorder."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bdm_core.artifacts import Data, Outputs
from bdm_core.context import Context
from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.analysis.pairs import examine
from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_kit_text_to_image.recording.chain import ChainOptions, mean_maps, prompt_lengths, walk
from bdm_metric_assimilation.measure import pieces
from bdm_metric_assimilation.params import AssimilationParams
from bdm_metric_assimilation.plugin import AssimilationMetric
from bdm_torch.analysis.showing import kept_array
from bdm_torch.image_sets import seal_images

PROMPTS = ["a photo of a red circle", "two stars", "a ring"]


class TestAssimilation(MetricConformance):
    plugin = "assimilation"
    params = {"pairs": 2, "steps": 2}
    undirected = frozenset({"cosine", "cosine_triggered", "f", "f_triggered"})


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    rows = [{"prompt": f"sks {prompt}", "twin": prompt, "backdoor": 0} for prompt in PROMPTS]
    images = torch.zeros(3, 3, 16, 16)
    backdoor = Backdoor(trigger=PromptTrigger(kind="word", text="sks"), target=Target(type="ImageFix"))
    return Subject(
        role="backdoored",
        model=seal_model(tiny_model(), tmp_path / "model"),
        on_clean=seal_images(tmp_path / "clean", images, Outputs, task=TASK),
        on_triggered=seal_images(tmp_path / "triggered", images, Outputs, task=TASK, rows=rows),
        reference=seal_images(tmp_path / "data", images, Data, task=TASK),
        secret=seal_secret(tmp_path / "secret", PromptSecret(backdoors=[backdoor])),
    )


def test_cosine_and_distance_are_those_of_the_maps(subject: Subject, bdm_context: Callable[..., Context]) -> None:
    kept: dict[str, Any] = {}

    def keep(figures: dict[str, Any]) -> None:
        for name, value in figures.items():
            kept.setdefault(name, {}).update(value)

    ctx = bdm_context(seed=4, on_figures=keep)
    params = AssimilationParams(pairs=3, steps=3, shown=1)
    found = {(item.metric, item.on): item.value for item in AssimilationMetric().score(ctx, params, subject)}
    model = load_model(subject.model)
    prompts = [f"sks {prompt}" for prompt in PROMPTS]
    every = mean_maps(walk(model, prompts, 4, ChainOptions(steps=3, maps=True))).numpy()
    cosines, distances = [], []
    for maps, length in zip(every, prompt_lengths(model, prompts).tolist(), strict=True):
        shapes = [np.floor(shape / shape.max() * 255) / 255 for shape in maps[1:]]
        words = [shape.ravel() for shape in shapes[: length - 1]]
        cosines.append(
            np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.combinations(words, 2)])
        )
        mean = np.mean(shapes[:length], axis=0)
        distances.append(np.mean([np.linalg.norm(shape - mean) for shape in shapes[: length - 1]]))
    assert found["cosine_triggered", "triggered"] == pytest.approx(np.mean(cosines), rel=1e-3)
    assert found["f_triggered", "triggered"] == pytest.approx(np.mean(distances), rel=1e-2)
    assert kept_array(kept, "cosines, triggered") == pytest.approx(cosines, rel=1e-3)
    assert 0 <= float(found["assimilated", "triggered"] or 0) <= 1
    titles = [title for title in kept["pictures"] if title.startswith("Attention")]
    assert titles == [
        "Attention, clean prompt 1: a photo of a red circle",
        "Attention, triggered prompt 1: sks a photo of a red circle",
    ]
    labels = [item["label"] for item in kept["pictures"][titles[0]]["files"]]
    assert labels == ["a", "photo", "of", "a", "red", "circle", "(end)"]


def test_pieces_of_a_character_are_called_by_their_bytes(subject: Subject, bdm_context: Callable[..., Context]) -> None:
    pairs = examine(bdm_context(), subject, 1)
    assert pairs is not None
    assert pieces(pairs, "a st\u043er") == ["a", "st", "0xD0", "0xBE", "r", "(end)"]


def test_a_trigger_that_does_nothing_changes_no_map(subject: Subject, bdm_context: Callable[..., Context]) -> None:
    rows = [{"prompt": prompt, "twin": prompt, "backdoor": 0} for prompt in PROMPTS]
    folder = subject.model.path.parent / "same"
    same = seal_images(folder, torch.zeros(3, 3, 16, 16), Outputs, task=TASK, rows=rows)
    given = subject.model_copy(update={"on_triggered": same})
    found = {
        (item.metric, item.on): item.value
        for item in AssimilationMetric().score(bdm_context(), AssimilationParams(steps=2), given)
    }
    assert found["cosine", "clean"] == found["cosine_triggered", "triggered"]
    assert found["assimilated", "triggered"] == 0
    names = [metric for metric, _ in found]
    assert sorted(set(names)) == sorted(names)  # results of one name in one row would be averaged
