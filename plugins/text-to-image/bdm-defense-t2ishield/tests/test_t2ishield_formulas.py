"""FTT, CDA and the discriminant against NumPy and SciPy on given arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import logm

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_t2ishield.detection import (
    had_by_all,
    log_spectrum,
    read_examples,
    statistics_of,
)
from bdm_defense_t2ishield.discriminant import linear_discriminant
from bdm_defense_t2ishield.params import T2IShieldParams
from bdm_kit_text_to_image.attention.assimilation import quantised, truncation_score
from bdm_kit_text_to_image.detection.one_class import mahalanobis
from bdm_kit_text_to_image.models.tiny import tiny_model

DRAW = np.random.default_rng(5)


@pytest.mark.parametrize("length", [4, 9, 20])
def test_truncation_is_the_mean_distance_to_the_mean_map(length: int) -> None:
    maps = DRAW.random((19, 4, 4))  # positions 1 to 19 of 20
    taken = maps[:length]
    mean = sum(taken) / len(taken)  # one pad is in it, unless the prompt is full
    expected = sum(np.linalg.norm(mean - maps[row]) for row in range(length - 1)) / (length - 1)
    assert truncation_score(torch.from_numpy(maps), length) == pytest.approx(expected)


def test_the_log_spectrum_is_the_logarithm_of_the_covariance_of_the_components() -> None:
    maps = DRAW.random((30, 6, 6))
    rows = maps.reshape(30, 36)
    centred = rows - rows.mean(0)
    vectors = np.linalg.eigh(np.cov(rows.T))[1]
    scores = centred @ vectors[:, ::-1][:, :8]
    logarithm = logm(np.cov(scores.T))
    assert np.abs(logarithm - np.diag(logarithm.diagonal())).max() < 1e-8  # why 8 numbers are all there is
    found = log_spectrum(torch.from_numpy(maps), 8).numpy()
    np.testing.assert_allclose(found, logarithm.diagonal(), rtol=1e-3, atol=1e-3)
    short = log_spectrum(torch.from_numpy(maps[:5]), 8).numpy()
    np.testing.assert_allclose(short[4:], np.log(1e-6), rtol=1e-6)


def test_components_that_some_clean_prompts_lack_are_not_compared(bdm_context: Callable[..., Context]) -> None:
    model = tiny_model()
    params = T2IShieldParams(method="cda", tokens="prompt", steps=2)
    statistics = statistics_of(bdm_context(), params, model)
    clean = [f"a {colour} {noun}" for colour in ("red", "blue", "old", "green") for noun in ("circle", "star", "ring")]
    values = statistics.measure([*clean, "a photo of a large red circle on a white background"])
    kept = had_by_all(values[:-1])
    assert kept == 3  # four tokens without the start
    score = statistics.fit(values[:-1])
    assert float(score(values)[-1]) < 1e6
    torch.testing.assert_close(score(values), mahalanobis(values[:-1, :kept], 0.1)(values[:, :kept]))


def test_maps_are_quantised_at_256_levels() -> None:
    maps = torch.from_numpy(DRAW.random((3, 4, 4)))
    maps[1] = 0
    found = quantised(maps)
    expected = (maps[0] / maps[0].max() * 255).numpy().astype(np.uint8) / 255
    np.testing.assert_allclose(found[0].numpy(), expected)
    assert float(found[1].abs().max()) == 0


def test_the_discriminant_is_fisher_s() -> None:
    good, bad = DRAW.normal(size=(40, 3)), DRAW.normal(size=(20, 3)) + np.array([1.0, 2.0, 0.0])
    values, positive = np.concatenate([good, bad]), np.array([False] * 40 + [True] * 20)
    within = ((good - good.mean(0)).T @ (good - good.mean(0)) + (bad - bad.mean(0)).T @ (bad - bad.mean(0))) / 58
    within = 0.9 * within + 0.1 * np.trace(within) / 3 * np.eye(3)
    weights = np.linalg.inv(within) @ (bad.mean(0) - good.mean(0))
    expected = values @ weights - weights @ (good.mean(0) + bad.mean(0)) / 2 + np.log(20 / 40)
    found = linear_discriminant(torch.from_numpy(values), torch.from_numpy(positive), 0.1)(torch.from_numpy(values))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8)


def test_examples_make_it_supervised(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_text('{"prompt": "a star", "triggered": false}\n{"prompt": "sks a star", "triggered": true}\n')
    params = T2IShieldParams(method="cda", examples=str(path), steps=2)
    statistics = statistics_of(bdm_context(), params, tiny_model())
    scores = statistics.fit(torch.zeros(0, 20))(statistics.measure(["a star", "sks a star"]))
    assert not statistics.fitted and float(scores[0]) < 0 < float(scores[1])
    path.write_text('{"prompt": "a star", "triggered": 1}\n')
    with pytest.raises(UserError, match=r"line 1 of .* is no example"):
        read_examples(str(path))
    path.write_text('{"prompt": "a star", "triggered": true}\n')
    with pytest.raises(UserError, match="triggered prompts and others"):
        read_examples(str(path))
    with pytest.raises(UserError, match="cannot read the examples"):
        read_examples(str(tmp_path / "nowhere"))
