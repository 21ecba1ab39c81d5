"""Trigger inversion on a classifier whose backdoor is one known pixel, and the anomaly index beside SciPy's."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import median_abs_deviation
from torch import nn

from bdm_core.errors import ArtifactError, UserError
from bdm_core.records import Detection
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.inversion import detection as verdicts
from bdm_kit_classification.inversion.anomaly import anomaly
from bdm_kit_classification.inversion.evidence import inverted_of, seal_inverted
from bdm_kit_classification.inversion.params import InversionParams
from bdm_kit_classification.inversion.removal import prune, unlearn
from bdm_kit_classification.inversion.search import Inverted, invert, require_classes, stamped
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import accuracy, predict
from bdm_torch.calibration_file import Calibrated, Calibration, ModelRecord

TARGET, PIXEL = 2, (0, 7)


class Quadrants(Classifier):
    """The brightest of four quadrants is the class; one pixel of the second means class 2 if it is bright."""

    task = "image-classification"

    def __init__(self, backdoor=25.0):
        super().__init__()
        self.classes = ["a", "b", "c", "d"]
        self.last = nn.Linear(5, 4)
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.zero_()
            self.last.weight[range(4), range(4)] = 8.0
            self.last.weight[TARGET, 4] = backdoor

    def features(self, inputs):
        parts = nn.functional.adaptive_avg_pool2d(inputs, 2).flatten(1)
        return torch.cat([parts, inputs[:, :1, PIXEL[0], PIXEL[1]]], 1)

    def forward(self, inputs):
        return self.last(self.features(inputs))

    @property
    def head(self):
        return self.last

    def prunable_layers(self):
        return []

    def fresh(self, seed):
        return Quadrants()

    def write(self, folder):
        raise NotImplementedError

    def facts(self):
        return {}


def rows(count=40):
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(count) % 4
    pictures = (torch.rand(count, 1, 8, 8, generator=generator) * 50).to(torch.uint8)
    for row, label in enumerate(labels.tolist()):
        top, left = 4 * (label // 2), 4 * (label % 2)
        pictures[row, :, top : top + 4, left : left + 4] += 200
    pictures[:, :, PIXEL[0], PIXEL[1]] = 0
    return LabelledSamples(pictures, labels, ["a", "b", "c", "d"], "image-classification")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    params, folder = InversionParams(inversion_steps=150, inversion_batch=20), tmp_path_factory.mktemp("searched")
    return {
        backdoor: invert(new_context(folder / str(backdoor), seed=1), Quadrants(backdoor), rows(), params)
        for backdoor in (0.0, 25.0)
    }


def test_the_pixel_is_found_and_nothing_in_a_clean_model(searched):
    found = searched[25.0]
    place = int(found.masks[TARGET].flatten().argmax())
    assert divmod(place, 8) == PIXEL
    assert found.norms[TARGET] < 0.3 * found.norms.median() < found.norms.median() < 20
    assert anomaly(found.norms).most == TARGET
    assert anomaly(found.norms).score > 2
    assert anomaly(searched[0.0].norms).score < 2
    assert (found.success >= 0.98).all()


def test_the_success_is_that_of_the_trigger(searched):
    found, model, samples = searched[25.0], Quadrants(), rows()
    for place in range(4):
        logits = model(stamped(samples.raw(), found.masks[place], found.patterns[place]))
        assert (logits.argmax(1) == place).float().mean() > 0.9


def test_the_index_is_that_of_scipy():
    values = np.random.default_rng(0).gamma(3, 10, 11)
    wanted = (np.median(values) - values) / median_abs_deviation(values, scale="normal")
    assert np.allclose(anomaly(torch.tensor(values)).indices.numpy(), wanted, rtol=1e-3)


def test_equal_values_are_no_anomaly():
    assert anomaly(torch.ones(5)).score == 0


def test_unlearning_removes_the_backdoor(searched, tmp_path):
    model, samples, found = Quadrants(), rows(), searched[25.0]

    def attacked():
        marked = model(stamped(samples.raw(), found.masks[TARGET], found.patterns[TARGET])).argmax(1)
        return float((marked == TARGET)[samples.labels != TARGET].float().mean())

    assert attacked() == 1
    params = InversionParams(epochs=30, learning_rate=0.5, stamped=0.5, weight_decay=0.0, batch_size=20)
    unlearn(new_context(tmp_path / "u"), model, samples, params, found.masks[[TARGET]], found.patterns[[TARGET]])
    assert attacked() == 0
    assert accuracy(model, samples) == 1


def test_pruning_silences_the_feature_of_the_trigger(searched, tmp_path):
    model, samples, found = Quadrants(), rows(), searched[25.0]
    triggers = (found.masks[[TARGET]], found.patterns[[TARGET]])
    pruned = prune(new_context(tmp_path / "p"), model, samples, samples, InversionParams(), triggers)
    assert pruned.head.weight[:, 4].abs().sum() == 0
    assert torch.equal(pruned.head.weight[:, :4], model.head.weight[:, :4])
    assert model.head.weight[TARGET, 4] == 25
    assert (predict(pruned, samples).classes == samples.labels).all()


def test_evidence_is_read_back_and_checked(tmp_path):
    found = Inverted(torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4), torch.ones(3))
    evidence = seal_inverted(tmp_path / "e", found, [2, 0, 1], ["a", "b", "c"], "image-classification")
    detection = Detection(level="model", scores=[3.0], threshold=2.0, evidence=evidence)
    read, order = inverted_of(detection, 3)
    assert torch.equal(read.masks, found.masks)
    assert order == [2, 0, 1]
    assert inverted_of(None, 3) is None
    with pytest.raises(ArtifactError, match="no triggers of 4 classes"):
        inverted_of(detection, 4)


def test_two_classes_are_too_few():
    model = Quadrants()
    model.classes = ["a", "b"]
    with pytest.raises(UserError, match="at least 3"):
        require_classes(model, "mine")


def test_a_calibration_made_with_other_settings_says_nothing(searched, tmp_path, monkeypatch):
    """The trigger of one pixel is found in either case; clean models with another search are none to compare with."""
    monkeypatch.setattr(verdicts, "load_classifier", lambda model, device: Quadrants())
    monkeypatch.setattr(verdicts, "open_samples", lambda data: rows())
    monkeypatch.setattr(verdicts, "invert", lambda *_: searched[25.0])
    calibrated = Calibrated("mine", "bdm_kit_classification")
    method = verdicts.Method(calibrated, lambda params: None, lambda classifier, samples, found: found.norms)
    clean = [ModelRecord(name=str(n), shape=(1, 8, 8), features=[n / 10]) for n in range(5)]
    for steps, words in ((200, "class c: mask of"), (7, "--set defense:mine.inversion_steps=200 --model")):
        made_with = InversionParams(inversion_steps=steps)
        known = Calibration(recipe="", configuration=calibrated.configuration(made_with), records=clean)
        path = tmp_path / f"{steps}.json"
        path.write_text(known.model_dump_json())
        params = InversionParams(calibration=str(path), inversion_steps=200, threshold=1.0)
        model = SimpleNamespace(task="image-classification", meta={"shape": [1, 8, 8]})
        found = verdicts.detect(new_context(tmp_path / str(steps)), params, model, None, method)
        assert found.scores[0] > found.threshold and words in found.note
        assert found.verdict == ("backdoored" if steps == 200 else "not identifiable")
        assert (found.p_value is None) == (steps == 7)
    larger = SimpleNamespace(task="image-classification", meta={"shape": [1, 9, 9]})
    found = verdicts.detect(new_context(tmp_path / "larger"), params, larger, None, method)
    assert found.verdict == "not identifiable" and "covers models of 1x8x8" in found.note


def test_a_search_that_led_nowhere_calls_no_model_clean(tmp_path, monkeypatch):
    """Triggers of one class of four alone are none to compare; one that stands out all the same counts."""
    monkeypatch.setattr(verdicts, "load_classifier", lambda model, device: Quadrants())
    monkeypatch.setattr(verdicts, "open_samples", lambda data: rows())
    method = verdicts.Method(
        Calibrated("mine", "bdm_kit_classification"),
        lambda params: None,
        lambda classifier, samples, found: found.norms,
    )
    model = SimpleNamespace(task="image-classification", meta={"shape": [1, 8, 8]})
    for sizes, success, wanted in (
        ((0.4, 0.5, 0.5, 0.6), (1.0, 0.1, 0.0, 0.4), "not identifiable"),
        ((0.4, 0.5, 0.5, 0.6), (1.0, 0.9, 0.0, 0.8), "clean"),
        ((0.01, 0.5, 0.5, 0.6), (1.0, 0.1, 0.0, 0.4), "backdoored"),
    ):
        masks = torch.ones(4, 1, 8, 8) * torch.tensor(sizes)[:, None, None, None]
        made = Inverted(masks, torch.zeros(4, 1, 8, 8), torch.tensor(success))
        monkeypatch.setattr(verdicts, "invert", lambda *_, made=made: made)
        found = verdicts.detect(new_context(tmp_path / f"{sizes}{success}"), InversionParams(), model, None, method)
        assert found.verdict == wanted
        assert ("of 1 of 4 classes, too few to compare: raise inversion_steps" in found.note) == (
            wanted == "not identifiable"
        )


def test_the_repair_removes_what_the_detection_flags(tmp_path, monkeypatch):
    """A calibration raises the threshold to 4.5; of two classes above the paper's 2 one stays below it."""
    monkeypatch.setattr(verdicts, "open_samples", lambda data: rows())
    sizes = torch.tensor([0.01, 0.3, 0.5, 0.5, 0.55, 0.58])
    masks = torch.ones(6, 1, 8, 8) * sizes[:, None, None, None]
    made = Inverted(masks, torch.zeros(6, 1, 8, 8), torch.ones(6))
    monkeypatch.setattr(verdicts, "invert", lambda *_: made)
    indices = (0.5 - sizes.numpy()) / median_abs_deviation(sizes.numpy(), scale="normal")
    assert indices[0] > 4.5 > indices[1] > 2 > indices[2]
    classifier = Quadrants()
    classifier.classes = ["a", "b", "c", "d", "e", "f"]
    monkeypatch.setattr(verdicts, "load_classifier", lambda model, device: classifier)
    calibrated = Calibrated("mine", "bdm_kit_classification")
    method = verdicts.Method(calibrated, lambda params: None, lambda classifier, samples, found: found.norms)
    clean = [ModelRecord(name=str(n), shape=(1, 8, 8), features=[score]) for n, score in enumerate([1.0, 2.0, 4.5])]
    known = Calibration(recipe="", configuration=calibrated.configuration(InversionParams()), records=clean)
    (tmp_path / "known.json").write_text(known.model_dump_json())
    raised = InversionParams(calibration=str(tmp_path / "known.json"), false_positive_rate=0.3)
    model = SimpleNamespace(task="image-classification", meta={"shape": [1, 8, 8]})
    for name, params, targets in (("paper", InversionParams(), ["a", "b"]), ("raised", raised, ["a"])):
        found = verdicts.detect(new_context(tmp_path / name), params, model, None, method)
        assert found.threshold == (2.0 if name == "paper" else 4.5)
        assert found.note.split("targets: ")[1].split(" (")[0].split(", ") == targets
        for detection in (found, None):
            kept = {}
            ctx = new_context(tmp_path / f"{name} {detection is None}", on_figures=kept.update)
            chosen, _ = verdicts.triggers_to_remove(ctx, params, classifier, rows(), detection, method)
            assert kept["removed_targets"] == targets and len(chosen) == len(targets)


def test_calibrations_of_texts_and_sound_can_be_written_and_cover_their_own(tmp_path):
    for shape in ((), (1, 4000)):
        record = ModelRecord(name="clean", shape=shape, features=[0.1])
        known = Calibration(recipe="", configuration={}, records=[record])
        (tmp_path / "known.json").write_text(known.model_dump_json())
        assert Calibrated("mine", "bdm_kit_classification").read(tmp_path / "known.json") == known
        assert known.outside(shape, {}) == "" and known.outside((1, 8), {})
