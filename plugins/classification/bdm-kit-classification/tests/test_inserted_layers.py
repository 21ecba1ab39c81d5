"""Linear layers inserted before a convolution: a model with them is a model folder like any other."""

import copy
import json

import pytest
import torch
from torch import nn

from bdm_core.errors import ArtifactError, UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.folders import find_model
from bdm_kit_classification.models.image_classifiers import ImageConfig, build, open_image_classifier
from bdm_kit_classification.models.inserted import can_fold, fold, insert_linear
from bdm_kit_classification.models.networks import NETWORKS
from bdm_kit_classification.predictions import load_predictions
from bdm_kit_classification.training.fitting import predict

DEEP = {"cnn": "convs.3", "cnn-wide": "convs.3", "vgg19-bn": "convs.15"}


def own(architecture="cnn"):
    return build(ImageConfig(architecture=architecture, width=4, shape=(3, 16, 16), classes=["a", "b"]), seed=0)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_a_purified_model_is_a_model_folder(architecture, tmp_path):
    classifier, name = own(architecture), DEEP.get(architecture, "blocks.7.conv1")
    layer, x = dict(classifier.named_modules())[f"network.{name}"], pictures()
    before, channels = classifier(x), layer.in_channels
    weight, bias = drawn(channels, channels), drawn(channels, seed=2)

    def by_hand(module, given):
        return (torch.einsum("ij,njhw->nihw", weight, given[0]) + bias[:, None, None],)

    hook = layer.register_forward_pre_hook(by_hand)
    expected = classifier(x)
    hook.remove()
    insert_linear(classifier, f"network.{name}", weight, bias)
    assert torch.allclose(classifier(x), expected, atol=1e-4) and not torch.allclose(before, expected, atol=1e-3)
    copied = copy.deepcopy(classifier)
    with torch.no_grad():
        copied.network.inserted[0].weight.zero_()
    assert torch.allclose(classifier(x), expected, atol=1e-4) and not torch.allclose(copied(x), expected, atol=1e-3)
    model = seal_classifier(classifier, tmp_path / "model")
    again = open_image_classifier(find_model(str(model.path), tmp_path)[1])
    assert torch.allclose(again(x), classifier(x), atol=1e-6) and again.config.inserted == [name]
    assert len(again.prunable_layers()) == len(own(architecture).prunable_layers())
    assert torch.allclose(load_classifier(model)(x), classifier(x), atol=1e-6)
    fresh = again.fresh(3)
    assert fresh.config.inserted == [name] and torch.equal(fresh(x), again.fresh(3)(x))


def test_scan_and_run_open_it(tmp_path, bdm_bench):
    """Both open a folder by the kit's hook, and run it by the stage that makes its outputs."""
    bench = bdm_bench("image-classification")
    classifier = load_classifier(bench.model)
    channels = classifier.network.convs[3].in_channels
    insert_linear(classifier, "network.convs.3", 2 * torch.eye(channels), torch.ones(channels))
    folder = seal_classifier(classifier, tmp_path / "model").path
    (folder / "manifest.json").unlink()  # as a stranger would hand it over
    assert bench.kit.task_of(folder) == "image-classification"
    opened = bench.call("open_model", [bench.kit], reference=str(folder)).value
    outputs = load_predictions(bench.generate(opened, bench.inputs()))
    inputs = open_samples(bench.inputs())
    assert torch.allclose(outputs.logits, predict(load_classifier(opened), inputs).logits, atol=1e-5)
    plain = load_predictions(bench.generate(bench.model, bench.inputs()))
    assert not torch.allclose(outputs.logits, plain.logits, atol=1e-3)


def test_two_insertions_before_one_layer_are_one():
    classifier, x = own(), pictures()
    first, second = drawn(16, 16) / 4, drawn(16, 16, seed=3) / 4
    insert_linear(classifier, "network.convs.3", first, torch.ones(16))
    insert_linear(classifier, "network.convs.3", second, torch.zeros(16))
    other = own()
    insert_linear(other, "network.convs.3", second @ first, second @ torch.ones(16))
    assert torch.allclose(classifier(x), other(x), atol=1e-5) and len(classifier.network.inserted) == 1


def test_folding_is_exact_where_it_is_done():
    x, weight, bias = drawn(2, 5, 6, 6).double(), drawn(5, 5, seed=1).double(), drawn(5, seed=2).double()
    for layer in (nn.Conv2d(5, 4, 3), nn.Conv2d(5, 4, 1, stride=2)):
        layer.double()
        expected = layer(torch.einsum("ij,njhw->nihw", weight, x) + bias[:, None, None])
        assert can_fold(layer)
        fold(layer, weight, bias)
        assert torch.allclose(layer(x), expected)
    line = nn.Linear(5, 3).double()
    expected = line(x[:, :, 0, 0] @ weight.T + bias)
    fold(line, weight, bias)
    assert torch.allclose(line(x[:, :, 0, 0]), expected)
    assert not any(map(can_fold, (nn.Conv2d(5, 4, 3, padding=1), nn.Conv2d(5, 4, 1, bias=False))))


def test_models_without_an_insertion_are_written_as_before(tmp_path):
    seal_classifier(own(), tmp_path / "model")
    assert "inserted" not in json.loads((tmp_path / "model" / "config.json").read_text())


def test_transformers_models_keep_what_can_be_folded():
    from transformers import ResNetConfig, ResNetForImageClassification

    from bdm_kit_classification.models.transformers_classifier import TransformersClassifier

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], id2label={0: "a", 1: "b"})
    classifier, x = TransformersClassifier(ResNetForImageClassification(config), {"size": 16}).eval(), pictures()
    features = classifier.features(x)
    head = next(name for name, module in classifier.named_modules() if module is classifier.head)
    weight = drawn(16, 16)
    expected = classifier.head(features @ weight.T)
    insert_linear(classifier, head, weight, torch.zeros(16))
    assert torch.allclose(classifier(x), expected, atol=1e-4)
    conv = classifier.prunable_layers()[-1].name
    with pytest.raises(UserError, match="kit's own networks"):
        insert_linear(classifier, conv, torch.eye(16), torch.zeros(16))


@pytest.mark.parametrize("names", [["convs.9"], ["head"], ["norms.0"], ["convs.3", "convs.3"], ["inserted.0"], [""]])
def test_configurations_that_cannot_be_are_refused(names, tmp_path):
    classifier = own()
    insert_linear(classifier, "network.convs.3", torch.eye(16), torch.zeros(16))
    seal_classifier(classifier, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "inserted": names}))
    with pytest.raises(ArtifactError, match="inserted"):
        open_image_classifier(tmp_path / "model")


def test_weights_without_their_inserted_layer_are_refused(tmp_path):
    seal_classifier(own(), tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "inserted": ["convs.3"]}))
    with pytest.raises(ArtifactError, match=r"inserted\.0"):
        open_image_classifier(tmp_path / "model")


def test_layers_that_are_not_there_are_refused():
    with pytest.raises(UserError, match="no linear layer or convolution"):
        insert_linear(own(), "network.convs.9", torch.eye(4), torch.zeros(4))
