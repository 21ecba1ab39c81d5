"""The plugin as a whole: conformance, its feature spaces, and what is refused."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from bdm_core.artifacts import Data, Model, Outputs, Secret
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Measurement, Subject
from bdm_core.testing import MetricConformance
from bdm_kit_diffusion.data.classifiers import BUILTIN_CLASSIFIER
from bdm_metric_frechet.params import FrechetParams
from bdm_metric_frechet.plugin import FrechetMetric
from bdm_torch.features import ImageClassifier, load_classifier, save_classifier
from bdm_torch.image_sets import seal_images

TASK = "unconditional-image-generation"


class TestFrechetConformance(MetricConformance):
    plugin = "frechet"
    task = TASK


def images(count: int, channels: int, side: int, seed: int) -> torch.Tensor:
    """Random 8-bit pictures in [-1, 1]."""
    levels = torch.randint(256, (count, channels, side, side), generator=torch.Generator().manual_seed(seed))
    return levels / 127.5 - 1


def score(
    root: Path, reference: torch.Tensor, samples: torch.Tensor, params: FrechetParams, rejected: int = 0
) -> Measurement:
    for name in ("model", "secret"):
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text("{}")
    outputs = seal_images(root / "outputs", samples, Outputs, task=TASK)
    subject = Subject(
        role="clean",
        model=Model.seal(root / "model", format="diffusers", task=TASK),
        on_clean=outputs,
        on_triggered=outputs,
        reference=seal_images(root / "data", reference, Data, task=TASK),
        secret=Secret.seal(root / "secret", format="diffusion-secret", task=TASK),
        rejected_clean=rejected,
    )
    (found,) = FrechetMetric().score(Context(out=root, work=root, seed=0), params, subject)
    return found


def closed_form(first: torch.Tensor, second: torch.Tensor) -> float:
    one, two = first.double().numpy(), second.double().numpy()
    a, b = np.cov(one.T), np.cov(two.T)
    gap = one.mean(0) - two.mean(0)
    return float(gap @ gap + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))


def test_digits_features_are_chosen_named_and_used(tmp_path: Path) -> None:
    reference, samples = images(150, 1, 8, 0), images(120, 1, 8, 1) * 0.5
    samples = (samples * 127.5 + 127.5).round() / 127.5 - 1
    found = score(tmp_path, reference, samples, FrechetParams())
    network = load_classifier(BUILTIN_CLASSIFIER)
    expected = closed_form(network.features(reference), network.features(samples))
    assert found.metric == "frechet_digits-classifier"
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert (found.n, found.on, found.higher_is_better) == (120, "clean", False)
    assert found.stderr is not None and found.stderr > 0


def test_pixels_serve_any_shape(tmp_path: Path) -> None:
    reference, samples = images(250, 3, 16, 2), images(240, 3, 16, 3)
    found = score(tmp_path, reference, samples, FrechetParams(features="pixels", jackknife_blocks=0))
    pooled = [item.reshape(-1, 3, 8, 2, 8, 2).mean((3, 5)).flatten(1) for item in (reference, samples)]
    assert found.metric == "frechet_pixels"
    assert found.value == pytest.approx(closed_form(*pooled), rel=1e-5)
    assert found.stderr is None


def test_own_classifier_from_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_classifier(ImageClassifier(12, 3, (4, 4), 6), tmp_path / "mine")
    params = FrechetParams(features=str(tmp_path / "mine"))
    found = score(tmp_path / "run", images(30, 3, 12, 4), images(20, 3, 12, 5), params)
    assert found.metric == "frechet_mine"


def test_few_samples_for_many_features_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="bdm"):
        score(tmp_path, images(100, 1, 8, 6), images(20, 1, 8, 7), FrechetParams())
    assert "20 samples and 100 reference images for 48 features" in caplog.text


@pytest.mark.parametrize(
    ("features", "message"),
    [("nonsense", "no feature space 'nonsense'"), ("digits-classifier", r"takes images of shape \(N, 1, 8, 8\)")],
)
def test_a_feature_space_that_does_not_fit_is_refused(tmp_path: Path, features: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        score(tmp_path, images(9, 3, 8, 8), images(9, 3, 8, 9), FrechetParams(features=features))


def test_inception_without_its_extra_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch_fidelity" else find(name))
    with pytest.raises(UserError, match=r"bdm-metric-frechet\[inception\]"):
        score(tmp_path, images(9, 3, 8, 10), images(9, 3, 8, 11), FrechetParams(features="inception"))


def test_one_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two images or more"):
        score(tmp_path, images(9, 1, 8, 12), images(1, 1, 8, 13), FrechetParams())


def test_too_few_inputs_that_pass_a_defense_are_no_failure(tmp_path: Path) -> None:
    found = score(tmp_path, images(9, 1, 8, 12), images(1, 1, 8, 13), FrechetParams(), rejected=4)
    assert (found.metric, found.value, found.n) == ("frechet_digits-classifier", None, 1)
