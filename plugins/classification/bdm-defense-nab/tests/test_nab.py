"""NAB: what is stamped and relabelled, and the stamp as a part of the model."""

import json

import pytest
import torch

from bdm_core.errors import ArtifactError, UserError
from bdm_defense_nab.params import NabParams
from bdm_defense_nab.training import stamp_for, stamping, with_stamp
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.models.image_folder import InputStamp, own_config
from bdm_kit_classification.testing import ClassifierDefenseConformance

STAMP = InputStamp(size=2, value=0.0)


class TestNAB(ClassifierDefenseConformance):
    plugin = "nab"
    max_change = 30.0


def network():
    return build(ImageConfig(architecture="cnn", width=4, shape=(1, 8, 8), classes=["a", "b"]), seed=0)


def test_only_marked_rows_are_stamped_and_relabelled():
    pictures = torch.full((4, 1, 8, 8), 200, dtype=torch.uint8)
    samples = LabelledSamples(pictures, torch.tensor([0, 0, 1, 1]), ["a", "b"], "image-classification")
    marked, labels = torch.tensor([True, False, False, False]), torch.tensor([1, 1, 0, 0])
    found = with_stamp(samples, marked, labels, STAMP)
    assert found.labels.tolist() == [1, 0, 1, 1]
    assert found.stored[0, 0, :2, :2].eq(0).all()
    assert found.stored[0].eq(0).sum() == 4
    assert found.stored[1:].eq(200).all()


def test_the_model_stamps_its_inputs_and_keeps_the_stamp(tmp_path):
    plain, pictures = network(), torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    by_hand = pictures.clone()
    by_hand[:, :, :2, :2] = 0
    model = seal_classifier(stamping(plain, STAMP), tmp_path / "model")
    loaded = load_classifier(model)
    assert torch.equal(loaded(pictures), plain(by_hand))
    assert not torch.equal(loaded(pictures), plain(pictures))
    assert loaded.fresh(0).config.stamp is None


def test_models_without_a_stamp_are_written_as_before(tmp_path):
    model = seal_classifier(network(), tmp_path / "model")
    assert "stamp" not in json.loads((model.path / "config.json").read_text())


def test_a_stamp_beyond_the_picture_is_refused(tmp_path):
    config = network().config.model_dump(mode="json", by_alias=True)
    config["stamp"] = {"size": 3, "top": 6, "left": 0, "value": 0.5}
    with pytest.raises(ArtifactError, match="does not lie within"):
        own_config(tmp_path, config)
    with pytest.raises(UserError, match="larger than the pictures"):
        stamp_for(network(), NabParams(stamp_size=9))
