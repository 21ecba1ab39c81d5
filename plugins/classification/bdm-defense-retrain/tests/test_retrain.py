"""Training without flagged rows: what is left decides, and nothing of the given weights is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_retrain.params import RetrainParams
from bdm_defense_retrain.plugin import Retrain
from bdm_kit_classification.data.samples import LabelledSamples, seal_samples
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import RowDetectorConformance


class TestRetrain(RowDetectorConformance):
    plugin = "retrain"

    def given_detection(self, bench):  # type: ignore[no-untyped-def]
        rows = len(self.training_data(bench).file("rows.jsonl").read_text().splitlines())
        return Detection(level="data", scores=[float(row == 0) for row in range(rows)], threshold=0.5)


class TestRetrainOnTexts(TestRetrain):
    task = "text-classification"


class TestRetrainOnSound(TestRetrain):
    task = "audio-classification"


def prepared(folder: Path) -> tuple[Context, LabelledSamples]:
    """Dark pictures are 0 and bright ones 1; in the second half the labels are the other way round."""
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True)
    bright = torch.arange(80) % 2
    pictures = (bright * 200).to(torch.uint8)[:, None, None, None].expand(80, 1, 8, 8).contiguous()
    labels = torch.where(torch.arange(80) < 40, bright, 1 - bright)
    return Context(folder / "out", folder / "work", 3), LabelledSamples(
        pictures, labels, ["dark", "bright"], "image-classification"
    )


@pytest.mark.parametrize("half", [0, 1])
def test_the_model_learns_the_rows_that_are_left(tmp_path: Path, half: int) -> None:
    ctx, rows = prepared(tmp_path)
    model = seal_classifier(build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=rows.classes), 0), tmp_path)
    scores = [float(row // 40 != half) for row in range(80)]
    found = Detection(level="data", scores=scores, threshold=0.5)
    params = RetrainParams(epochs=6, batch_size=10)
    made = Retrain().repair(ctx, params, model, found, seal_samples(tmp_path / "rows", rows))
    kept = rows.pick(list(range(40 * half, 40 * half + 40)))
    answers = load_classifier(made)(kept.raw()).argmax(1)
    assert bool((answers == kept.labels).all())


def test_a_detection_of_rows_is_needed(tmp_path: Path) -> None:
    ctx, rows = prepared(tmp_path)
    of_model = Detection(level="model", scores=[2.0], threshold=1.0)
    with pytest.raises(UserError, match="needs a detector of training rows"):
        Retrain().repair(ctx, RetrainParams(), None, of_model, seal_samples(tmp_path / "rows", rows))  # type: ignore
    one_class = Detection(level="data", scores=rows.labels.double().tolist(), threshold=0.5)
    with pytest.raises(UserError, match="40 of 80 training rows are flagged: too few are left"):
        Retrain().repair(ctx, RetrainParams(), None, one_class, seal_samples(tmp_path / "r2", rows))  # type: ignore
