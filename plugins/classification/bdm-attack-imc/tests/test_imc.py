"""IMC: pixels where the best ones are known, and both follow one loss."""

import torch
from torch.nn import functional

from bdm_attack_imc.attack import new_pixels, warm_up
from bdm_attack_imc.params import ImcParams
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.triggers.label_rule import LabelRule


class TestImc(ClassifierAttackConformance):
    plugin = "imc"

    def test_the_square_alone_changes(self, bench):
        trigger = open_secret(self.backdoored(bench).secret).trigger
        x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        changed = (trigger.apply(x, "test") != x)[:, 0].any(0).nonzero().tolist()
        assert changed == [[7, 7]]

    def test_training_starts_at_the_clean_model(self, bench):
        before, after = (load_classifier(item) for item in (bench.model, self.backdoored(bench).model))
        far = load_classifier(bench.model).fresh(5)
        distance = [float((before.head.weight - other.head.weight).norm()) for other in (after, far)]
        assert 0 < distance[0] < distance[1] / 2


def test_the_patch_is_what_the_pixels_do():
    pixels = new_pixels(ImcParams(size=3, opacity=0.4, place="top-left", margin=1), [3, 8, 8], 0)
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    found = pixels(x)
    assert torch.allclose(pixels.patch().apply(x, "test"), found, atol=1e-6)
    expected = x.clone()
    inside = 0.5 + 0.5 * pixels.free.detach()[:, 1:4, 1:4].tanh()
    expected[:, :, 1:4, 1:4] = 0.6 * x[:, :, 1:4, 1:4] + 0.4 * inside
    assert torch.allclose(found, expected, atol=1e-6)


def test_pixels_are_black_or_white_where_a_model_counts_them(tmp_path):
    """A classifier that says class 1 of pictures bright in two of four corner pixels and dark in the others."""
    classifier = build(ImageConfig(architecture="cnn", width=4, shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    classifier.forward = lambda x: functional.pad(5 * (x[:, 0, 6:, 6:] * signs).sum((1, 2))[:, None], (1, 0))
    rows = LabelledSamples(
        torch.full((20, 1, 8, 8), 99, dtype=torch.uint8), torch.arange(20) % 2, ["a", "b"], "image-classification"
    )
    params = ImcParams(size=2, warm_steps=150, batch_size=10, trigger_rate=0.3)
    pixels = new_pixels(params, [1, 8, 8], 0)
    warm_up(new_context(tmp_path), params, pixels, classifier, LabelRule(kind="all-to-one", classes=2, target=1), rows)
    assert torch.allclose(pixels.patch().pattern[0, 6:, 6:], (signs > 0).float(), atol=0.15)
