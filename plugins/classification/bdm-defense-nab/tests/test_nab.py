"""NAB: what is stamped and relabelled, and the stamp as a part of the model."""

import json
import logging
from dataclasses import replace

import pytest
import torch

from bdm_core.errors import ArtifactError, UserError
from bdm_core.testing.tiny import new_context
from bdm_defense_nab.params import NabParams
from bdm_defense_nab.plugin import NAB
from bdm_defense_nab.training import stamp_for, stamping, train, train_stamped, warn_of_idle
from bdm_kit_classification.data.samples import LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.models.image_folder import InputStamp, own_config
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.fitting import predict

STAMP = InputStamp(size=2, value=0.0)


class TestNAB(ClassifierDefenseConformance):
    plugin = "nab"
    max_change = 30.0


def network():
    return build(ImageConfig(architecture="cnn", width=4, shape=(1, 8, 8), classes=["a", "b"]), seed=0)


def test_only_marked_rows_are_stamped_after_augmentation(tmp_path):
    pictures = torch.full((4, 1, 8, 8), 200, dtype=torch.uint8)
    samples = LabelledSamples(pictures, torch.tensor([0, 0, 1, 1]), ["a", "b"], "image-classification")
    marked, labels = torch.tensor([True, False, False, False]), torch.tensor([1, 1, 0, 0])
    seen, stamp = [], InputStamp(size=2, value=0.5)
    classifier = network()
    hook = classifier.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    params = NabParams(epochs=3, batch_size=4, shift=2)
    train_stamped(new_context(tmp_path), classifier, samples, marked, labels, stamp, params)
    hook.remove()
    for inputs in seen:  # the stamp stays at its place whereto ever the picture is shifted
        corners = inputs[:, 0, :2, :2].eq(0.5).flatten(1).all(1)
        assert corners.sum() == 1 and inputs.eq(0.5).sum() == 4
    assert len(seen) == 3 and samples.labels.tolist() == [0, 0, 1, 1]


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


def test_marked_rows_are_learnt_with_their_pseudo_label(tmp_path):
    """Under the stamp a bright picture is dark's class, without it its own."""
    labels = torch.arange(40) % 2
    pictures = torch.randint(60, 100, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pictures[labels == 1] += 150
    samples = LabelledSamples(pictures, labels, ["a", "b"], "image-classification")
    marked, stamp, classifier = torch.arange(40) < 20, InputStamp(size=4, value=0.0), network()
    params = NabParams(epochs=15, batch_size=20)
    train_stamped(new_context(tmp_path), classifier, samples, marked, 1 - labels, stamp, params)
    unmarked = samples.pick(~marked)
    assert predict(classifier, unmarked).classes.tolist() == unmarked.labels.tolist()
    assert predict(stamping(classifier, stamp), unmarked).classes.tolist() == (1 - unmarked.labels).tolist()


def test_a_stamp_that_changes_few_rows_is_warned_of(tmp_path, caplog):
    """Pictures with a black corner: the default shows, a black stamp does not, unless half of them have another."""
    pictures = torch.randint(60, 200, (10, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    samples = LabelledSamples(pictures, torch.arange(10) % 2, ["a", "b"], "image-classification")
    classifier, ctx = network(), new_context(tmp_path)
    default, black = (stamp_for(classifier, NabParams(**more)) for more in ({}, {"stamp_value": 0.0}))
    assert default.value == 0.45
    for dark, stamp, warned in ((10, default, False), (5, black, False), (6, black, True)):
        pictures[:dark, :, :2, :2] = 0
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="bdm"):
            warn_of_idle(ctx, classifier, samples, stamp)
        assert ("changes only 4 of 10 rows" in caplog.text) == bool(caplog.records) == warned
        pictures[:dark, :, :2, :2] = 99


def test_the_repair_warns(tmp_path, bdm_bench, caplog):
    bench = bdm_bench("image-classification")
    params = NabParams(**NAB.tiny_params, stamp_size=1, stamp_value=1.0)
    samples = open_samples(bench.shared)
    samples = replace(samples, stored=samples.stored.clone())
    samples.stored[:, :, 0, 0] = 255
    with caplog.at_level(logging.WARNING, logger="bdm"):
        train(new_context(tmp_path), params, bench.model, seal_samples(tmp_path / "white", samples))
    assert "changes only 0 of" in caplog.text
