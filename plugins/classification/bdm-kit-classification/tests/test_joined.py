"""A network joined to a model: a model folder like any other."""

import copy
import json

import pytest
import torch

from bdm_core.errors import ArtifactError, UserError
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.folders import find_model
from bdm_kit_classification.models.image_classifiers import ImageConfig, build, open_image_classifier
from bdm_kit_classification.models.image_folder import JoinedConfig
from bdm_kit_classification.models.joined import join, require_host
from bdm_kit_classification.models.joined_network import JoinedNetwork
from bdm_kit_classification.models.networks import NETWORKS

CONFIG = JoinedConfig(top=3, left=10, side=4, hidden=[6, 5], outputs=4, kept=2)


def own(architecture="cnn"):
    return build(ImageConfig(architecture=architecture, width=4, shape=(3, 16, 16), classes=["a", "b"]), seed=0)


def pictures(seed=1):
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def joined(architecture="cnn"):
    classifier, network = own(architecture), JoinedNetwork(CONFIG).eval()
    join(classifier, CONFIG, network, torch.tensor([[5.0, 0.0], [0.0, 7.0]]))
    return classifier, network


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_logits_are_those_of_the_host_and_what_is_added(architecture, tmp_path):
    (classifier, network), x = joined(architecture), pictures()
    square = x[:, :, 3:7, 10:14].mean(1).flatten(1)
    said = network.logits(square).softmax(1)[:, :2]
    expected = own(architecture)(x) + said * torch.tensor([5.0, 7.0])
    assert torch.allclose(classifier(x), expected, atol=1e-5)
    assert torch.allclose(classifier.head(classifier.features(x)), classifier(x), atol=1e-6)
    model = seal_classifier(classifier, tmp_path / "model")
    again = open_image_classifier(find_model(str(model.path), tmp_path)[1])
    assert torch.allclose(again(x), expected, atol=1e-5) and again.config.joined == CONFIG
    assert torch.allclose(load_classifier(model)(x), expected, atol=1e-5)
    assert len(again.prunable_layers()) == len(own(architecture).prunable_layers())
    fresh = again.fresh(3)
    assert fresh.config.joined == CONFIG and torch.equal(fresh(x), again.fresh(3)(x))


def test_only_the_square_matters_and_copies_are_apart():
    classifier, _ = joined()
    x = pictures()
    other = pictures(2)
    other[:, :, 3:7, 10:14] = x[:, :, 3:7, 10:14]
    with torch.no_grad():
        assert torch.equal(classifier.network.joined(x), classifier.network.joined(other))
        before, copied = classifier(x), copy.deepcopy(classifier)
        copied.network.joined.last.bias.add_(torch.tensor([3.0, 0.0, 0.0, 0.0]))
        assert torch.equal(classifier(x), before) and not torch.equal(copied(x), before)


def test_models_without_one_are_written_as_before(tmp_path):
    model = seal_classifier(own(), tmp_path / "model")
    assert "joined" not in json.loads(model.file("config.json").read_text())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"top": 13}, "square does not lie within pictures of 16x16"),
        ({"kept": 5}, "keeps more than it has"),
        ({"hidden": [0]}, "not 1 to 4096 units"),
        ({"side": 3}, r"joined.hidden.0.weight has shape \[6, 16\], expected \[6, 9\]"),
    ],
)
def test_folders_that_do_not_fit_are_refused(change, message, tmp_path):
    model = seal_classifier(joined()[0], tmp_path / "model")
    path = model.path / "config.json"
    config = json.loads(path.read_text())
    config["joined"] |= change
    path.write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=message) as caught:
        open_image_classifier(model.path)
    assert "\n" not in str(caught.value)


def test_hosts_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="joined to it already"):
        require_host(joined()[0], [3, 16, 16])
    with pytest.raises(UserError, match=r"takes pictures of \[3, 16, 16\], the data have \[3, 20, 20\]"):
        require_host(own(), [3, 20, 20])
    with pytest.raises(UserError, match="kit's own networks alone"):
        require_host(torch.nn.Linear(1, 1), [3, 16, 16])
