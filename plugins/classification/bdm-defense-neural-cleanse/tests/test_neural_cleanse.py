"""Neural Cleanse; the search itself is tested with the kit."""

import pytest
import torch

from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_core.testing.tiny import new_context
from bdm_defense_neural_cleanse import sound, texts
from bdm_defense_neural_cleanse.method import METHOD
from bdm_defense_neural_cleanse.params import NeuralCleanseParams
from bdm_defense_neural_cleanse.sound import search as search_sound
from bdm_defense_neural_cleanse.texts import repair
from bdm_defense_neural_cleanse.tokens import Tokens, search
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.audio_classifiers import AudioConfig
from bdm_kit_classification.models.audio_classifiers import build as build_audio
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.sounds.batch import Sounds
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.fitting import accuracy
from bdm_kit_classification.triggers.sound import tone


class TestNeuralCleanse(ClassifierDefenseConformance):
    plugin = "neural-cleanse"


class TestNeuralCleanseOnTexts(TestNeuralCleanse):
    task = "text-classification"


class TestNeuralCleanseOnSound(TestNeuralCleanse):
    task = "audio-classification"


class TestPruning(ClassifierDefenseConformance):
    """The other repair changes as little as it may."""

    plugin = "neural-cleanse"
    params = {"inversion_steps": 8, "repair": "prune"}
    max_change = 5.0

    def test_accuracy_stays_within_the_bound(self, bench):
        repaired = self.repair(bench).value
        samples = open_samples(bench.shared)
        before, after = (accuracy(load_classifier(model), samples) for model in (bench.model, repaired))
        assert after >= before - 0.2


def test_a_planted_token_is_found(tmp_path) -> None:
    """The first unit of a convolution answers to one token alone, and decides for the second class."""
    texts = ["a film", "so long a play", "not a word of it"] * 8
    samples = LabelledSamples(texts, torch.zeros(24, dtype=torch.int64), ["no", "yes"], "text-classification")
    classifier = samples.modality.small_classifier(texts, samples.classes, 0)
    planted = 42
    with torch.no_grad():
        classifier.embedding.weight[:, 0] = 0
        classifier.embedding.weight[planted, 0] = 5
        conv = classifier.network.convs[0]
        conv.weight[0], conv.bias[0] = 0, 0
        conv.weight[0, 0, 0] = 1
        classifier.head.weight[:, 0] = torch.tensor([-4.0, 4.0])
    found = search(new_context(tmp_path), classifier, samples, NeuralCleanseParams(inversion_steps=120))
    assert planted in found.hard(1).tolist() and float(found.success[1]) == 1
    assert float(found.sizes(0.98)[1]) < 1


def test_a_repair_that_texts_do_not_have_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="leave repair=unlearn"):
        repair(new_context(tmp_path), NeuralCleanseParams(repair="prune"), None, None, None, None)


def test_the_faintest_waveform_of_a_class_that_hears_a_tone(tmp_path):
    """A classifier of three sounds that says class 1 of a tone of 1 kHz and else judges by the loudness."""
    classifier = build_audio(AudioConfig(architecture="m5", width=4, rate=8000, samples=400, classes=list("abc")), 0)
    wave = tone(400, 8000, 1000.0, 1.0)

    def hear(x):
        loud = 3 * x.square().mean(1).add(1e-9).sqrt()
        return torch.stack([1 - loud, 60 * (x @ wave).abs() / 400, 2 * loud - 1], 1)

    classifier.forward = hear
    values = torch.randint(-300, 300, (40, 400), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    samples = LabelledSamples(Sounds(values, 8000), torch.arange(40) % 3, list("abc"), "audio-classification")
    params = NeuralCleanseParams(inversion_steps=150, inversion_batch=20)
    found = search_sound(new_context(tmp_path), classifier, samples, params)
    line = torch.fft.rfft(found.sounds[1]).abs()
    assert int(line.argmax()) == 50 and float(found.success[1]) >= 0.98
    assert float(found.sizes(0.98)[1]) < 0.3 * float(found.sizes(0.98)[2]), "the loudest class needs a loud waveform"


def planted(module, classes):
    """Triggers as if found: the first class has a far smaller one than the others, the second a smaller one."""
    if module is texts:
        strengths = torch.tensor([0.05, 0.15, *[0.9] * (classes - 2)])[:, None].expand(-1, 5).contiguous()
        zeros = torch.zeros(classes, 5)
        return Tokens(strengths, zeros.long(), torch.ones(classes), torch.zeros(classes, 5, 32))
    levels = torch.tensor([0.01, 0.03, *[0.05 + 0.002 * place for place in range(classes - 2)]])
    return sound.Waveforms(levels[:, None].expand(-1, 20).contiguous(), torch.ones(classes))


@pytest.mark.parametrize("module", [texts, sound])
def test_what_a_calibration_lets_pass_is_not_removed(module, tmp_path, monkeypatch):
    """The threshold of the verdict, not the one that was set, says which classes a repair unlearns."""
    classes = 6
    names = [str(number) for number in range(classes)]
    rows = LabelledSamples(["a film"] * 12, torch.arange(12) % classes, names, "text-classification")
    classifier = rows.modality.small_classifier(rows.stored, names, 0)
    found = planted(module, classes)
    removed = {}
    monkeypatch.setattr(module, "load_classifier", lambda model, device: classifier)
    monkeypatch.setattr(module, "open_samples", lambda data: rows)
    monkeypatch.setattr(module, "fit", lambda *given, **more: None)
    monkeypatch.setattr(module, "seal_classifier", lambda classifier, folder: None)
    monkeypatch.setattr(module, "search", lambda *given: found)
    evidence = module._seal(tmp_path / "evidence", found, rows.task)
    params = NeuralCleanseParams(threshold=1.0)
    above = {"judged": Detection(level="model", scores=[9.0], threshold=4.0, evidence=evidence)}
    for name, detection in {**above, "new": None}.items():
        ctx = new_context(tmp_path / name, on_figures=lambda figures, name=name: removed.update({name: figures}))
        module.repair(ctx, params, None, None, detection, METHOD.calibrated)
    chosen = {name: figures["removed_targets"] for name, figures in removed.items()}
    assert chosen["new"] == ["0", "1"], "both are above the threshold that was set"
    assert chosen["judged"] == ["0"], "one is above that of the detection"


def test_a_class_that_was_not_reached_has_the_largest_size():
    """A search that ended with a faint waveform of little success found none."""
    levels = torch.tensor([0.05, 0.052, 0.048, 0.051, 0.001])[:, None].expand(-1, 10).contiguous()
    success = torch.tensor([1.0, 1.0, 1.0, 0.99, 0.6])
    sizes = sound.Waveforms(levels, success).sizes(0.98)
    assert sizes.tolist() == pytest.approx([50, 52, 48, 51, 1000], rel=1e-4)
    assert sound.anomaly(sizes).most == 2
