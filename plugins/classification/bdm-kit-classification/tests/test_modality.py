"""The engine on a made-up modality, words of four letters: nothing in it knows pictures."""

import json
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from bdm_core.artifacts import Model
from bdm_core.testing.tiny import new_context
from bdm_kit_classification import stages
from bdm_kit_classification.data.samples import LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.modalities import registry
from bdm_kit_classification.modalities.base import Modality
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.poison.injection import train_on_poisoned_rows, train_surrogate
from bdm_kit_classification.poison.params import PoisonParams
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.predictions import load_predictions, true_labels
from bdm_kit_classification.rows import select
from bdm_kit_classification.triggers import trigger as triggers
from bdm_kit_classification.triggers.trigger import Trigger
from bdm_torch.foreign_models import load_weights
from bdm_torch.tensors import write_tensors

TASK = "word-classification"


@dataclass(frozen=True, eq=False)
class Ending(Trigger):
    letters: str

    def apply(self, x, phase, generator=None):
        return [word[:2] + self.letters for word in x]


class Words(Modality):
    task = TASK

    def unpack(self, stored):
        return list(stored)

    def pack(self, raw):
        return list(raw)

    def take(self, stored, rows):
        return [stored[row] for row in rows]

    def join(self, parts):
        return [word for part in parts for word in part]

    def shape(self, stored):
        return []

    def write(self, folder, name, stored):
        (folder / f"{name}.json").write_text(json.dumps(stored))

    def read(self, artifact, name):
        return json.loads(artifact.file(f"{name}.json").read_text())

    def collate(self, raw, classifier):
        return torch.tensor([[ord(letter) - 97 for letter in word] for word in raw], device=classifier.device)

    def mix(self, one, other, share):
        return [a[:2] + b[2:] for a, b in zip(one, other, strict=True)]

    def perturb(self, raw, strength, seed):
        return raw

    def distances(self, clean, changed):
        edits = [sum(a != b for a, b in zip(*pair, strict=True)) for pair in zip(clean, changed, strict=True)]
        return {"edits": torch.tensor(edits).float()}

    def open_classifier(self, folder):
        classifier = Speller()
        load_weights(classifier, folder, "model")
        return classifier.eval()

    def small_classifier(self, stored, classes, seed):
        return Speller().fresh(seed)

    def export(self, folder, stored):
        return [{"text": word} for word in stored]


class Speller(Classifier):
    task, classes = TASK, ["vowel first", "consonant first"]

    def __init__(self):
        super().__init__()
        self.embed, self.linear = nn.Embedding(26, 8), nn.Linear(32, 2)

    def features(self, inputs):
        return self.embed(inputs).flatten(1)

    def forward(self, inputs):
        return self.linear(self.features(inputs))

    @property
    def head(self):
        return self.linear

    def prunable_layers(self):
        return []

    def fresh(self, seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return Speller()

    def write(self, folder):
        write_tensors(folder / "model.safetensors", self.state_dict())

    def facts(self):
        return {"classes": self.classes, "trained_on": "words"}


@pytest.fixture(autouse=True)
def words(monkeypatch):
    monkeypatch.setitem(registry.MODALITIES, TASK, f"{__name__}:Words")
    monkeypatch.setattr(triggers, "_class_of", lambda name: Ending)


def some(count, seed):
    letters = torch.randint(0, 26, (count, 4), generator=torch.Generator().manual_seed(seed)).tolist()
    spelled = ["".join(chr(97 + letter) for letter in word) for word in letters]
    labels = torch.tensor([int(word[0] not in "aeiou") for word in spelled])
    return LabelledSamples(spelled, labels, Speller.classes, TASK)


def test_poison_train_trigger_and_predict(tmp_path):
    parts = {"reserve": some(10, 1), "test": some(60, 2)}
    data = seal_samples(tmp_path / "data", some(400, 0), parts=parts)
    model = seal_classifier(Speller().fresh(0), tmp_path / "model")
    assert isinstance(model, Model) and isinstance(load_classifier(model), Speller)
    params = PoisonParams(epochs=12, learning_rate=0.2, poison_rate=0.2)
    poisoned = poison_training_rows(new_context(tmp_path / "a"), params, data, Ending("zz"))
    rows = open_samples(poisoned)
    assert {word[2:] for word, role in zip(rows.stored, rows.roles, strict=True) if role == "poison"} == {"zz"}
    made = train_on_poisoned_rows(new_context(tmp_path / "b"), params, model, poisoned)
    assert open_secret(made.secret).trigger.letters == "zz"
    inputs = stages.make_inputs(new_context(tmp_path / "c"), data, None)
    triggered = stages.trigger_rows(new_context(tmp_path / "d"), inputs, made.secret)
    clean = stages.generate(new_context(tmp_path / "e"), made.model, inputs)
    bad = stages.generate(new_context(tmp_path / "f"), made.model, triggered)
    assert (load_predictions(clean).classes == true_labels(clean)).float().mean() > 0.8
    assert (load_predictions(bad).classes == 0).float().mean() > 0.9
    reserve = select(new_context(tmp_path / "g"), [data], [400, 409], False)
    assert open_samples(reserve).stored == [parts["reserve"].stored[0], parts["reserve"].stored[9]]


def test_a_surrogate_is_the_modalitys_own(tmp_path):
    assert isinstance(train_surrogate(new_context(tmp_path), some(64, 0), PoisonParams(epochs=1)), Speller)
