"""``bdm import`` of published state dicts: the same logits as plain code gives for the published names."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from bdm_cli.import_ import Source, convert
from bdm_core.errors import UserError
from bdm_kit_classification.models.classifier import load_classifier
from bdm_torch.foreign_models import open_network

MEAN, DEVIATION = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
CONFIG = {"architecture": "preact-resnet18", "classes": 3, "size": 32, "mean": MEAN, "deviation": DEVIATION}


def norm_tensors(name, count):
    part = nn.BatchNorm2d(count)
    nn.init.uniform_(part.weight, 0.5, 1.5), nn.init.normal_(part.bias), nn.init.normal_(part.running_mean)
    nn.init.uniform_(part.running_var, 0.5, 1.5)
    return {f"{name}.{key}": value for key, value in part.state_dict().items()}


def preact(width=4, classes=3):
    """A state dict in the published names, without a last normalisation."""
    torch.manual_seed(0)
    found = {"conv1.weight": torch.randn(width, 3, 3, 3) / 5}
    before = width
    for stage in range(4):
        after = width * 2**stage
        for block in range(2):
            name = f"layer{stage + 1}.{block}"
            found |= norm_tensors(f"{name}.bn1", before) | norm_tensors(f"{name}.bn2", after)
            found[f"{name}.conv1.weight"] = torch.randn(after, before, 3, 3) / before**0.5 / 3
            found[f"{name}.conv2.weight"] = torch.randn(after, after, 3, 3) / after**0.5 / 3
            if stage and not block:
                found[f"{name}.shortcut.0.weight"] = torch.randn(after, before, 1, 1) / before**0.5
            before = after
    return found | {"linear.weight": torch.randn(classes, before), "linear.bias": torch.randn(classes)}


def preact_logits(found, x):
    """What the published network computes, from its tensors by name."""

    def norm(name, x):
        values = [found[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        return functional.relu(functional.batch_norm(x, *values))

    x = functional.conv2d(x, found["conv1.weight"], padding=1)
    for stage in range(4):
        for block in range(2):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            active = norm(f"{name}.bn1", x)
            shortcut = found.get(f"{name}.shortcut.0.weight")
            kept = x if shortcut is None else functional.conv2d(active, shortcut, stride=stride)
            y = functional.conv2d(active, found[f"{name}.conv1.weight"], stride=stride, padding=1)
            x = kept + functional.conv2d(norm(f"{name}.bn2", y), found[f"{name}.conv2.weight"], padding=1)
    if "bn.weight" in found:
        x = norm("bn", x)
    return functional.linear(x.mean((2, 3)), found["linear.weight"], found["linear.bias"])


def vgg(width=2, classes=3):
    """VGG19-BN of CIFAR with its names: an ordinary Sequential and one linear layer."""
    torch.manual_seed(0)
    layers, before = [], 3
    for item in [1, 1, "M", 2, 2, "M", 4, 4, 4, 4, "M", 8, 8, 8, 8, "M", 8, 8, 8, 8, "M"]:
        if item == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(before, width * item, 3, padding=1), nn.BatchNorm2d(width * item), nn.ReLU()]
            before = width * item
    return nn.ModuleDict({"features": nn.Sequential(*layers), "classifier": nn.Linear(before, classes)}).eval()


def imported(tmp_path, weights, config=CONFIG):
    """The classifier that ``bdm import`` makes of a pickled state dict."""
    torch.save(weights, tmp_path / "model.pt")
    (tmp_path / "about.json").write_text(json.dumps(config))
    source = Source(tmp_path / "model.pt", config=tmp_path / "about.json")
    model, opened = convert(source, tmp_path / "out", task=None)
    assert opened and model.task == "image-classification" and model.format == "classifier"
    return load_classifier(model)


def normalised(x):
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)


@pytest.mark.parametrize("wrapped", ["plain", "module", "with a last norm", "without counters"])
def test_preact_resnet18(wrapped, tmp_path):
    found = preact() | (norm_tensors("bn", 32) if wrapped == "with a last norm" else {})
    expected = preact_logits(found, normalised(torch.ones(2, 3, 32, 32) * torch.tensor([0.1, 0.9]).view(2, 1, 1, 1)))
    if wrapped == "without counters":
        found = {name: value for name, value in found.items() if not name.endswith("num_batches_tracked")}
    given = {"model": {f"module.{name}": value for name, value in found.items()}} if wrapped == "module" else found
    classifier = imported(tmp_path, given)
    said = classifier(torch.ones(2, 3, 32, 32) * torch.tensor([0.1, 0.9]).view(2, 1, 1, 1))
    assert torch.allclose(said, expected, rtol=1e-4, atol=1e-4) and classifier.classes == ["0", "1", "2"]


def test_vgg19_bn_from_safetensors_and_a_folder_with_the_configuration(tmp_path):
    network = vgg()
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, tmp_path / "a.safetensors")
    (tmp_path / "about").mkdir()
    config = {**CONFIG, "architecture": "vgg19-bn", "classes": ["cat", "dog", "cow"]}
    (tmp_path / "about" / "config.json").write_text(json.dumps(config))
    model, _ = convert(Source(tmp_path / "a.safetensors", config=tmp_path / "about"), tmp_path / "out", task=None)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = network["classifier"](network["features"](normalised(x)).flatten(1))
    classifier = load_classifier(model)
    assert torch.allclose(classifier(x), expected, atol=1e-4) and classifier.classes == ["cat", "dog", "cow"]


def without(name):
    return {key: value for key, value in preact().items() if key != name}


@pytest.mark.parametrize(
    ("weights", "config", "match"),
    [
        (preact() | {"bn1.weight": torch.ones(1)}, {}, r"is a ResNet \(bn1, fc\), not a PreAct-ResNet18"),
        (preact() | {"layer1.2.conv1.weight": torch.ones(1)}, {}, r"layer1.2.conv1.weight .*cannot be converted"),
        (without("layer3.1.conv2.weight"), {}, r"lacks .*blocks.5.conv2.weight"),
        (preact() | {"layer1.0.bn1.bias": torch.ones(9)}, {}, r"has shape \[9\], expected \[4\]"),
        (without("linear.weight"), {}, "last linear layer"),
        (preact(), {"classes": 10}, "says 10 classes and 3 channels, the tensors have 3 and 3"),
        (preact(), {"architecture": "vgg19-bn"}, "architecture is 'vgg19-bn', the tensors are those of preact"),
        (preact(), {"size": 10**9}, "4 to 2048 pixels"),
        (preact(), {"mean": None}, "mean"),
        (preact(), {"color": "blue"}, "color"),
        (dict(vgg().state_dict()) | {"classifier.0.weight": torch.ones(3, 3)}, {}, r"classifier.0.weight"),
        ({"encoder.weight": torch.ones(3, 3)}, {}, "no installed kit knows a network with tensors such as 'encoder"),
    ],
)
def test_what_cannot_be_converted_is_one_line(weights, config, match, tmp_path):
    with pytest.raises(UserError, match=match) as caught:
        imported(tmp_path, weights, CONFIG | config)
    text = str(caught.value)
    assert "\n" not in text and ".bdm-import" not in text and not (tmp_path / "out").exists()


def test_a_configuration_that_says_too_little_is_one_line(tmp_path):
    torch.save(preact(), tmp_path / "model.pt")
    for text, match in (
        ('{"architecture": "preact-resnet18", "classes": 3, "size": 32}', "does not say the mean"),
        ("[1]", "no configuration of a classifier"),
        ("nonsense", "no configuration of a classifier"),
    ):
        (tmp_path / "about.json").write_text(text)
        with pytest.raises(UserError, match=match):
            convert(Source(tmp_path / "model.pt", config=tmp_path / "about.json"), tmp_path / "out", task=None)
    with pytest.raises(UserError, match="does not exist"):
        convert(Source(tmp_path / "model.pt", config=tmp_path / "none.json"), tmp_path / "out", task=None)


def test_a_library_is_silent_while_it_opens_a_network(tmp_path, capfd):
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    config = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    BertModel(config).save_pretrained(tmp_path)
    shown = logging.is_progress_bar_enabled()
    capfd.readouterr()
    try:
        logging.enable_progress_bar()
        open_network(BertModel, tmp_path, "model")
        assert logging.is_progress_bar_enabled() and capfd.readouterr() == ("", "")
    finally:
        if not shown:
            logging.disable_progress_bar()
