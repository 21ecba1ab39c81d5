"""The neural polariser."""

import json

import pytest
import torch

from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_defense_npd.params import NpdParams
from bdm_defense_npd.polariser import Polariser
from bdm_defense_npd.repair import fooling, place_of, polarise, polariser_loss
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.folders import find_model
from bdm_kit_classification.models.image_classifiers import ImageConfig, build, open_image_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.fitting import Batch
from bdm_torch.draws import Draw

TINY = {"epochs": 2, "batch_size": 10, "learning_rate": 1e-3, "search_steps": 1, "strengths": [1.0]}


class TestNpd(ClassifierDefenseConformance):
    plugin = "npd"
    task = "image-classification"
    inserts = True

    def test_a_purified_model_is_a_model_folder_that_opens_anywhere(self, bench, tmp_path):
        repaired = self.repair(bench, informed=False).value
        assert json.loads((repaired.path / "config.json").read_text())["inserted"] == ["convs.3"]
        opened = open_image_classifier(find_model(str(repaired.path), tmp_path)[1])
        x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        assert torch.equal(opened(x), load_classifier(repaired)(x))
        again = self.run(bench, "repair", 1, model=repaired, detection=None).value  # and can be repaired again
        assert json.loads((again.path / "config.json").read_text())["inserted"] == ["convs.3"]


class TestBeforeTheHead(ClassifierDefenseConformance):
    """Before a linear layer it is folded: the configuration stays as it was."""

    plugin = "npd"
    task = "image-classification"
    params = {**TINY, "layer": "network.head", "targets": "second-best"}

    def test_only_the_head_differs(self, bench):
        repaired = self.repair(bench, informed=False).value
        assert (repaired.path / "config.json").read_text() == (bench.model.path / "config.json").read_text()
        before, after = (load_classifier(model).state_dict() for model in (bench.model, repaired))
        assert {name for name in before if not torch.equal(before[name], after[name])} <= {
            "network.head.weight",
            "network.head.bias",
        }


def test_everything_but_the_polariser_is_as_it_was(tmp_path, bdm_bench):
    bench = bdm_bench("image-classification")
    repaired = polarise(new_context(tmp_path), NpdParams(**TINY), bench.model, bench.shared)
    before, after = (load_classifier(model).state_dict() for model in (bench.model, repaired))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert set(after) - set(before) == {"network.inserted.0.weight", "network.inserted.0.bias"}


def test_a_trained_polariser_is_one_linear_map():
    generator = torch.Generator().manual_seed(0)
    polariser = Polariser(torch.randn(8, 3, 4, 4, generator=generator))
    with torch.no_grad():
        for value in polariser.parameters():
            value.add_(torch.randn(value.shape, generator=generator))
    polariser.train()(torch.randn(8, 3, 4, 4, generator=generator))  # other statistics
    polariser.eval()
    weight, bias = polariser.as_linear()
    x = torch.randn(2, 3, 5, 5, generator=generator)
    wanted = torch.einsum("ij,njhw->nihw", weight, x) + bias[:, None, None]
    assert torch.allclose(polariser(x), wanted, atol=1e-5)


@pytest.mark.parametrize("targets", ["drawn", "second-best"])
def test_changes_aim_at_other_classes_within_their_ball(targets):
    classifier = build(ImageConfig(architecture="cnn", width=4, shape=(1, 8, 8), classes=["a", "b", "c"]), seed=0)
    x = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = classifier(x)
    batch = Batch(x, logits.argmax(1), torch.arange(12))
    params = NpdParams(targets=targets, radius=0.1)
    changed, aims = fooling(classifier, batch, Draw(0, 0, 12), params)
    assert (aims != batch.labels).all() and float((changed - x).flatten(1).norm(dim=1).max()) <= 0.8 + 1e-4
    with torch.no_grad():
        before, after = (found.softmax(1).gather(1, aims[:, None]) for found in (logits, classifier(changed)))
    assert (after > before).all()
    if targets == "second-best":
        assert aims.tolist() == logits.topk(2).indices[:, 1].tolist()


def test_places(tmp_path):
    assert place_of(own("preact-resnet18"), "") == "network.blocks.7.conv1"
    assert place_of(own("vgg19-bn"), "") == "network.convs.15"
    with pytest.raises(UserError, match="no linear layer or convolution"):
        place_of(own("cnn"), "network.norms.0")


def own(architecture):
    return build(ImageConfig(architecture=architecture, width=2, shape=(1, 8, 8), classes=["a", "b"]), seed=0)


def test_a_layer_that_cannot_be_kept_is_refused_before_training(tmp_path):
    from transformers import ResNetConfig, ResNetForImageClassification

    from bdm_kit_classification.models.transformers_classifier import TransformersClassifier

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], id2label={0: "a", 1: "b"})
    classifier = TransformersClassifier(ResNetForImageClassification(config), {"size": 16})
    model = seal_classifier(classifier, tmp_path / "model")
    with pytest.raises(UserError, match="folded exactly"):
        polarise(new_context(tmp_path), NpdParams(**TINY), model, None)


def test_the_loss_has_the_terms_of_the_paper_by_hand():
    """-log(1 - p) of the class aimed at and, boosted, of the likeliest class that is wrong."""
    clean, fooled = torch.tensor([[2.0, 0.0, 1.0]]).double(), torch.tensor([[3.0, 1.0, 2.0]]).double()
    logits = iter([torch.cat([clean, fooled])])
    batch = Batch(torch.zeros(1, 1, 2, 2).double(), torch.tensor([0]), torch.tensor([0]))
    params = NpdParams(recover_weight=0.4, avoid_weight=0.3, boost_weight=0.2, consist_weight=0.0)
    found = polariser_loss(lambda x: next(logits), batch, batch.inputs, torch.tensor([1]), params)
    p, q = clean.softmax(1)[0], fooled.softmax(1)[0]
    wanted = -p[0].log() - 0.4 * q[0].log() - 0.3 * (1 - q[1]).log() - 0.2 * (1 - q[2]).log()
    assert float(found) == pytest.approx(float(wanted))
