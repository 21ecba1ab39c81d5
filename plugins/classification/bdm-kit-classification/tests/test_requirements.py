"""What defenses refuse before anything is trained: kinds of models, few classes, few clean rows, odd lists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bdm_core import Field, Params
from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_core.plugin import Defense
from bdm_kit_classification.defending.params import between
from bdm_kit_classification.defending.requirements import (
    require_classes,
    require_norms,
    require_own_network,
    require_rows,
    require_units,
)
from bdm_kit_classification.defending.tuning_params import TuningParams
from bdm_kit_classification.models import text_classifiers
from bdm_kit_classification.models.audio_classifiers import AudioConfig
from bdm_kit_classification.models.audio_classifiers import build as build_audio
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.models.text_classifiers import TextConfig, train_tokenizer


class Mine(Defense):
    name = "mine"


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return seal_classifier(build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), 0), tmp_path)


def test_normalisations_are_counted_as_the_classifier_has_them(model: Model) -> None:
    require_norms(Mine(), model, 4)
    with pytest.raises(UserError, match=r"defense:mine .* needs at least 5 of them, and this model has 4: choose"):
        require_norms(Mine(), model, 5)
    with pytest.raises(UserError, match="works on batch normalisations"):
        require_norms(Mine(), model.model_copy(update={"task": "text-classification"}), 5)


def test_units_are_those_of_normalisations_and_of_texts_those_of_layers(model: Model, tmp_path: Path) -> None:
    require_units(Mine(), model)
    tokenizer = train_tokenizer(["a good film", "so bad a film"], 300)
    config = TextConfig(architecture="text-cnn", tokens=tokenizer.get_vocab_size(), classes=["no", "yes"])
    texts = seal_classifier(text_classifiers.build(config, tokenizer, 0), tmp_path / "texts")
    require_units(Mine(), texts)
    with pytest.raises(UserError, match="needs at least one, and this model has none"):
        require_norms(Mine(), texts)


def test_classes_and_clean_rows(model: Model) -> None:
    require_classes(Mine(), model, 2)
    with pytest.raises(UserError, match="compares classes and needs at least 3 of them, and this model has 2"):
        require_classes(Mine(), model, 3)
    with pytest.raises(UserError, match="the defender has 1: allow more data"):
        require_rows(Mine(), 1)
    with pytest.raises(UserError, match=r"needs at least 5 clean rows, .* the defender has 4"):
        require_rows(Mine(), 4, 5)


def test_a_model_of_others_is_none_of_the_kits_networks(model: Model, tmp_path: Path) -> None:
    require_own_network(Mine(), model, "keeps a stamp")
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit/config.json").write_text(json.dumps({"architectures": ["ViTForImageClassification"]}))
    foreign = model.model_copy(update={"path": tmp_path / "vit"})
    with pytest.raises(UserError, match="defense:mine keeps a stamp, which only the kit's own networks can keep"):
        require_own_network(Mine(), foreign, "keeps a stamp")


@pytest.mark.parametrize("strengths", [[0.0, 1.0], [2.0, 1.0], [1.0, 1.0], [-1.0]])
def test_strengths_rise_above_0(strengths: list[float]) -> None:
    with pytest.raises(ValueError, match=r"must rise and lie within \(0, inf\)"):
        TuningParams(strengths=strengths)


def test_ends_are_inside_only_if_asked_for() -> None:
    class Points(Params):
        points: list[float] = Field([0.5], description="Points.")
        _points = between("points", 0, 1, ends=True, rising=False)

    assert Points(points=[1.0, 0.0]).points == [1.0, 0.0]
    with pytest.raises(ValueError, match=r"must lie within \[0, 1\]"):
        Points(points=[1.5])


@pytest.mark.parametrize("architecture", ["m5", "x-vector"])
def test_normalisations_of_sequences_are_no_normalisations_of_maps(architecture: str, tmp_path: Path) -> None:
    """The headers of the weights look the same."""
    config = AudioConfig(architecture=architecture, width=4, rate=8000, samples=4000, classes=["a", "b"])
    sound = seal_classifier(build_audio(config, 0), tmp_path / "sequences")
    for ask in (require_norms, require_units):
        with pytest.raises(UserError, match=r"defense:mine .* two-dimensional .* \(BatchNorm1d\)"):
            ask(Mine(), sound)
    maps = AudioConfig(architecture="log-mel-cnn", width=4, rate=8000, samples=4000, classes=["a", "b"])
    require_units(Mine(), seal_classifier(build_audio(maps, 0), tmp_path / "maps"))
