"""Text-to-image: conformance, and the features of the small world's classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from bdm_core.artifacts import Data, Model, Outputs, Secret
from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_core.testing import MetricConformance
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier, save_attribute_classifier
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.scene import draw_scenes
from bdm_metric_frechet.params import FrechetParams
from bdm_metric_frechet.plugin import FrechetMetric
from bdm_torch.feature_spaces import comparable_rows
from bdm_torch.image_sets import seal_images


class TestFrechetConformanceOnPrompts(MetricConformance):
    plugin = "frechet"
    task = "text-to-image"


def score(root: Path, reference: torch.Tensor, samples: torch.Tensor, params: FrechetParams) -> Measurement:
    for name in ("model", "secret"):
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text("{}")
    outputs = seal_images(root / "outputs", samples, Outputs, task=TASK)
    subject = Subject(
        role="clean",
        model=Model.seal(root / "model", format="diffusers", task="text-to-image"),
        on_clean=outputs,
        on_triggered=outputs,
        reference=seal_images(root / "data", reference, Data, task=TASK, meta={"source": "small-world"}),
        secret=Secret.seal(root / "secret", format="prompt-secret", task="text-to-image"),
    )
    (found,) = FrechetMetric().score(Context(out=root, work=root, seed=0), params, subject)
    return found


def test_features_of_attributes_are_chosen_named_and_used(tmp_path: Path) -> None:
    reference, samples = render(draw_scenes(160, 11)), render(draw_scenes(150, 12))
    reference, samples = ((images * 127.5 + 127.5).round() / 127.5 - 1 for images in (reference, samples))
    found = score(tmp_path / "a", reference, samples, FrechetParams(jackknife_blocks=0))
    network = load_attribute_classifier()
    one, two = (network.features(images).double().numpy() for images in (reference, samples))
    a, b = np.cov(one.T), np.cov(two.T)
    gap = one.mean(0) - two.mean(0)
    expected = float(gap @ gap + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))
    assert found.metric == "frechet_attributes"
    assert found.value == pytest.approx(expected, rel=1e-3)
    worse = score(tmp_path / "b", reference, samples.flip(1), FrechetParams(jackknife_blocks=0))
    assert found.value is not None and worse.value is not None and worse.value > 2 * found.value
    save_attribute_classifier(network, tmp_path / "mine")
    again = score(
        tmp_path / "c", reference, samples, FrechetParams(features=str(tmp_path / "mine"), jackknife_blocks=0)
    )
    assert (again.metric, again.value) == ("frechet_mine", pytest.approx(found.value))


def test_reference_images_are_of_the_kind_that_is_asked_for() -> None:
    reference = [{"labels": {"style": style, "colour": colour}} for style in ("photo", "blur") for colour in "rgb"]
    asked = [{"labels": {"style": "photo", "colour": colour}} for colour in "rg"]
    assert comparable_rows(reference, asked) == [0, 1, 2]
    assert comparable_rows(reference, [{"labels": {"style": "outline"}}]) == list(range(6))  # nothing to compare with
    assert comparable_rows([{}, {}, {}], asked) == [0, 1, 2]
    assert comparable_rows(reference, [{}, {}]) == list(range(6))
