"""Outlier scores against NumPy, planted rows found, and training without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bdm_core.artifacts import Data, roles_of
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_core.testing import DefenseConformance
from bdm_defense_spectral_signatures.detection import detect, judge
from bdm_defense_spectral_signatures.groups import groups_of
from bdm_defense_spectral_signatures.params import SpectralSignaturesParams
from bdm_defense_spectral_signatures.plugin import SpectralSignatures
from bdm_defense_spectral_signatures.repair import repair
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.data.built_in_data import load_builtin
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.poison.poisoning import Mixture, Poison, seal_poisoned
from bdm_torch.image_sets import seal_images
from bdm_torch.pictures.triggers import make_trigger

FAST = {"steps": 2, "batch_size": 4}


class TestSpectralSignatures(DefenseConformance):
    plugin = "spectral-signatures"
    task = TASK
    params = FAST


class TestOnPixels(DefenseConformance):
    plugin = "spectral-signatures"
    task = TASK
    params = {**FAST, "features": "pixels", "groups": "one"}


def context(folder: Path) -> Context:
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True)
    return Context(folder / "out", folder / "work", 1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_labels_make_groups_only_if_every_row_has_one() -> None:
    rows: list[dict[str, Any]] = [{"label": 1}, {"label": 0}]
    assert groups_of(rows, "auto") == ["1", "0"] and groups_of(rows, "one") == ["all", "all"]
    assert groups_of([*rows, {}], "auto") == ["all"] * 3


def poisoned_digits(folder: Path, trigger: str) -> tuple[Data, Data]:
    """500 digits, a tenth of them with a trigger: with roles, and as a defender gets them."""
    images, rows = load_builtin("digits")
    kept = [{"label": row["label"]} for row in rows[:500]]
    clean = seal_images(folder / "clean", images[:500], Data, task=TASK, rows=kept)
    drawn = make_trigger(trigger, (1, 8, 8))
    poison = Poison(drawn.image, drawn.mask, torch.zeros(1, 8, 8))
    whole = seal_poisoned(folder / "poisoned", clean, poison, Mixture(0.1), 3)
    return whole, clean


@pytest.mark.parametrize(("trigger", "least"), [("checker", 0.97), ("glasses", 0.97)])
@pytest.mark.parametrize("features", ["auto", "pixels"])
def test_poisoned_digits_score_higher(tmp_path: Path, trigger: str, least: float, features: Any) -> None:
    whole, _ = poisoned_digits(tmp_path, trigger)
    found = detect(context(tmp_path), SpectralSignaturesParams(features=features, groups="one"), whole)
    roles = roles_of(whole)
    scores: dict[str, list[float]] = {"clean": [], "poison": []}
    for score, role in zip(found.scores, roles, strict=True):
        scores[role].append(score)
    bad, good = (np.array(scores[role]) for role in ("poison", "clean"))
    assert float((bad[:, None] > good).mean()) > least
    assert sum(score > found.threshold for score in found.scores) == 75
    assert found.verdict == "not identifiable" and found.evidence is not None
    pictures, curve = SpectralSignatures().illustrate(ctx=None, artifact=found.evidence)
    assert len(pictures.files) == len(pictures.labels) == 16 and curve.curves["highest score first"][0] == max(
        found.scores
    )


def test_training_leaves_out_what_a_detector_flagged(tmp_path: Path) -> None:
    """Both halves of the rows are constant: the trained model learns the half that is left."""
    half = torch.cat([torch.full((20, 1, 8, 8), value) for value in (-0.9, 0.9)])
    data = seal_images(tmp_path / "rows", half, Data, task=TASK)
    model = seal_model(load_model(BUILTIN / "digits-tiny"), tmp_path / "model")
    params = SpectralSignaturesParams(steps=60, learning_rate=5e-3, warmup_steps=0, ema_decay=None)
    losses = []
    for index, flagged in enumerate((range(20), range(20, 40))):
        scores = [2.0 if row in flagged else 0.0 for row in range(40)]
        found = Detection(level="data", scores=scores, threshold=1.0)
        trained = load_model(repair(context(tmp_path / str(index)), params, model, found, data))
        noise, times = normal(64, 1, 8, 8), torch.full((64,), 10)
        level = trained.scheduler.alphas_cumprod[10]
        with torch.no_grad():
            noisy = level.sqrt() * 0.9 + (1 - level).sqrt() * noise
            losses.append(float((trained.unet(noisy, times).sample - noise).square().mean()))
    assert losses[0] < 0.5 * losses[1], "the loss on white images, once trained on them and once on black ones"


def test_without_a_detection_of_rows_they_are_judged_here(tmp_path: Path) -> None:
    whole, _ = poisoned_digits(tmp_path, "checker")
    model = seal_model(load_model(BUILTIN / "digits-tiny"), tmp_path / "model")
    params = SpectralSignaturesParams(steps=2, batch_size=4)
    scores = judge(context(tmp_path / "judge"), params, whole).scores.tolist()
    of_model = Detection(level="model", scores=[0.0], threshold=1.0)
    of_rows = Detection(level="data", scores=scores, threshold=1.0)
    made = [
        repair(context(tmp_path / str(index)), params, model, found, whole).digest
        for index, found in enumerate((None, of_model, of_rows))
    ]
    assert len(set(made)) == 1


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    whole, _ = poisoned_digits(tmp_path, "checker")
    found = Detection(level="data", scores=[2.0] * 500, threshold=1.0)
    with pytest.raises(UserError, match="nothing is left"):
        repair(context(tmp_path), SpectralSignaturesParams(), None, found, whole)  # type: ignore[arg-type]
