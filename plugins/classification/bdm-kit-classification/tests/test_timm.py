"""Networks of timm: with a stand-in, and with timm itself where it is installed."""

import json
import sys
import types

import pytest
import torch
from torch import nn

from bdm_core.errors import ArtifactError, UserError
from bdm_kit_classification.models.folders import find_model, task_of_folder
from bdm_kit_classification.models.image_classifiers import open_image_classifier
from bdm_kit_classification.models.timm_classifier import build_timm
from bdm_kit_classification.models.timm_folder import TimmConfig

NORMAL = ([0.5, 0.4, 0.3], [0.2, 0.2, 0.4])


class Standing(nn.Module):
    """As networks of timm are: ``get_classifier``, and logits from normalised pictures."""

    def __init__(self, num_classes, in_chans, width=4):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(in_chans, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, num_classes)

    def get_classifier(self):
        return self.fc

    def forward(self, x):
        return self.fc(self.norm(self.conv(x)).relu().mean((2, 3)))


class Odd(Standing):
    """Its last part is no linear map."""

    def get_classifier(self):
        return self.conv


@pytest.fixture
def stand_in(monkeypatch):
    def create_model(name, pretrained, num_classes, in_chans, **options):
        assert not pretrained
        return (Odd if name == "odd" else Standing)(num_classes, in_chans, **options)

    module = types.ModuleType("timm")
    module.__version__, module.create_model, module.is_model = "1", create_model, {"standing", "odd"}.__contains__
    monkeypatch.setitem(sys.modules, "timm", module)


def made(name, size=12):
    return build_timm(name, (3, size, size), ["a", "b", "c"], NORMAL, "digits", seed=0)


def written(classifier, folder):
    folder.mkdir()
    classifier.write(folder)
    return folder


def check(classifier, folder):
    """A folder gives the classifier back, and the protocol of all classifiers holds."""
    assert task_of_folder(folder) == "image-classification"
    again = open_image_classifier(find_model(str(folder), folder)[1])
    x = torch.rand(2, 3, *classifier.shape[1:], generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(x), classifier(x)) and again.classes == ["a", "b", "c"] and again.trained_on == "digits"
    assert torch.allclose(again.head(again.features(x)), again(x), atol=1e-6)
    assert torch.equal(again.fresh(0)(x), classifier(x)) and not torch.equal(again.fresh(1)(x), classifier(x))
    small = torch.rand(2, 3, 9, 9, requires_grad=True)
    again(small).sum().backward()
    assert small.grad is not None and float(small.grad.abs().sum()) > 0, "no gradient reaches the pixels"
    layers = again.prunable_layers()
    assert layers and all(layer.layer is not again.head for layer in layers)
    return again


def test_a_folder_gives_the_network_back(stand_in, tmp_path):
    classifier = made("standing")
    again = check(classifier, written(classifier, tmp_path / "model"))
    x = torch.rand(2, 3, 12, 12)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in NORMAL)
    assert torch.allclose(classifier(x), classifier.network((x - mean) / deviation), atol=1e-6)
    (layer,) = again.prunable_layers()
    assert layer.norm is again.network.norm


def test_without_timm_there_is_one_line(stand_in, tmp_path, monkeypatch):
    folder = written(made("standing"), tmp_path / "model")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"timm:standing needs timm: pip install 'bdm-kit-classification\[timm\]'"):
        open_image_classifier(find_model(str(folder), tmp_path)[1])


def test_a_name_alone_has_no_weights(tmp_path):
    with pytest.raises(ArtifactError, match="timm:resnet18 is an architecture without weights: train a clean model"):
        find_model("timm:resnet18", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "hf-hub:somebody/else"}, "architecture"),
        ({"architecture": "local-dir"}, "architecture"),
        ({"architecture": "unknown"}, "timm 1 has no architecture 'unknown'"),
        ({"architecture": "odd"}, "timm:odd does not end in one linear map"),
        ({"model_args": {"checkpoint_path": "weights.pth"}}, "model_args"),
        ({"num_classes": 4}, "num_classes is 4, label_names has 3"),
        ({"pretrained_cfg": {"input_size": [3, 2, 2]}}, "shape"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_line(stand_in, tmp_path, change, message):
    folder = written(made("standing"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ArtifactError, match=message) as failure:
        open_image_classifier(find_model(str(folder), tmp_path)[1])
    assert "\n" not in str(failure.value)


def test_a_configuration_of_timm_itself_is_understood():
    given = {"architecture": "resnet18", "num_classes": 2, "num_features": 512, "pretrained_cfg": {"tag": "a1_in1k"}}
    given["pretrained_cfg"]["input_size"] = [3, 224, 224]
    assert TimmConfig.model_validate(given).classes == ["0", "1"]


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_networks_of_timm(name, tmp_path):
    pytest.importorskip("timm")
    classifier = made(name, 224 if "vit" in name else 32)
    check(classifier, written(classifier, tmp_path / "model"))
