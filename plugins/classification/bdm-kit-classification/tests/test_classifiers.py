"""Classifiers: the kit's own networks and those of transformers behind one protocol."""

import json

import pytest
import torch

from bdm_core.errors import ArtifactError
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.folders import find_model
from bdm_kit_classification.models.image_classifiers import ImageConfig, build, open_image_classifier
from bdm_kit_classification.models.networks import NETWORKS

CLASSES = ["a", "b", "c"]


def own(architecture, width=4, shape=(3, 16, 16)):
    return build(ImageConfig(architecture=architecture, width=width, shape=shape, classes=CLASSES), seed=0)


def checked(classifier, x):
    """What every classifier promises."""
    logits, features = classifier(x), classifier.features(x)
    assert logits.shape == (len(x), len(classifier.classes)) and features.ndim == 2
    assert torch.allclose(classifier.head(features), logits, atol=1e-5)
    x = x.clone().requires_grad_()
    classifier(x).sum().backward()
    assert float(x.grad.abs().sum()) > 0
    layers = classifier.prunable_layers()
    modules = dict(classifier.named_modules())
    assert layers and all(modules[layer.name] is layer.layer for layer in layers)
    assert classifier.head not in [layer.layer for layer in layers]
    return layers


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_own_networks(architecture, tmp_path):
    classifier = own(architecture)
    layers = checked(classifier, torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert any(layer.norm is not None for layer in layers)
    assert all(layer.norm is None or layer.norm.num_features == layer.units for layer in layers)
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    again = load_classifier(seal_classifier(classifier, tmp_path / "model"))
    assert torch.equal(again(x), classifier(x)) and again.classes == CLASSES
    assert not torch.equal(classifier.fresh(1)(x), classifier(x))
    assert torch.equal(classifier.fresh(1)(x), classifier.fresh(1)(x))


def test_published_sizes():
    count = {name: sum(p.numel() for p in own(name, None).parameters()) for name in NETWORKS}
    assert count["preact-resnet18"] == pytest.approx(11.17e6, rel=2e-3)
    assert count["vgg19-bn"] == pytest.approx(20.03e6, rel=2e-3)
    assert count["cnn"] < 62_000


def test_silenced_units_are_zero():
    classifier = own("cnn")
    layer = classifier.prunable_layers()[1]
    layer.silence([0, 2])
    seen = []
    layer.norm.register_forward_hook(lambda module, given, output: seen.append(output))
    classifier(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert float(seen[0][:, [0, 2]].abs().sum()) == 0 < float(seen[0][:, [1, 3]].abs().sum())


def test_other_sizes_are_resized_inside():
    assert own("cnn")(torch.rand(2, 3, 40, 20)).shape == (2, 3)


def test_transformers_folder(tmp_path):
    from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

    labels = dict(enumerate(CLASSES))
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    vit = ViTConfig(**sizes, image_size=16, patch_size=4, id2label=labels)
    resnet = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], id2label=labels)
    for name, network in (("vit", ViTForImageClassification(vit)), ("resnet", ResNetForImageClassification(resnet))):
        network.save_pretrained(tmp_path / name)
        processor = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
        (tmp_path / name / "preprocessor_config.json").write_text(json.dumps(processor))
        classifier = open_image_classifier(find_model(str(tmp_path / name), tmp_path)[1])
        x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = network.eval()(pixel_values=(x - 0.5) / 0.25).logits
        assert torch.allclose(classifier(x), expected, atol=1e-6)
        layers = checked(classifier, x)
        assert any(layer.norm is not None for layer in layers) == (name == "resnet")
        again = load_classifier(seal_classifier(classifier, tmp_path / f"{name}-sealed"))
        assert torch.allclose(again(x), expected, atol=1e-6)
        assert not torch.allclose(classifier.fresh(3)(x), expected)


def test_folders_that_do_not_fit_are_refused(tmp_path):
    seal_classifier(own("cnn"), tmp_path / "model")
    (tmp_path / "model" / "manifest.json").unlink()
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    for change, message in (({"width": 8}, "has shape"), ({"architecture": "x"}, ""), ({"shape": [2, 8, 8]}, "shape")):
        broken = {**config, **change, **({"bdm_architecture": "alexnet"} if "architecture" in change else {})}
        (tmp_path / "model" / "config.json").write_text(json.dumps(broken))
        with pytest.raises(ArtifactError, match=message):
            open_image_classifier(tmp_path / "model")
