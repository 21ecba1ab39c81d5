"""DECREE: cosines by hand, and an encoder whose trigger is known."""

import pytest
import torch

from bdm_core.testing.tiny import new_context
from bdm_defense_decree.detection import mean_cosine, search
from bdm_defense_decree.params import DecreeParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.testing import ClassifierDefenseConformance


class TestDecree(ClassifierDefenseConformance):
    plugin = "decree"


def test_cosines_are_those_of_pairs():
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    pairs = [
        float(torch.cosine_similarity(features[a], features[b], dim=0)) for a in range(6) for b in range(6) if a != b
    ]
    assert float(mean_cosine(features)) == pytest.approx(sum(pairs) / 30, abs=1e-6)


def planted(backdoored):
    """An encoder of all pixels; the backdoored one turns to one direction where a corner of 2x2 pixels is bright."""
    classifier = build(ImageConfig(architecture="cnn", width=4, shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    directions = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))

    def features(x):
        seen = (x.flatten(1) - 0.4) @ directions
        if not backdoored:
            return seen
        bright = (12 * (x[:, 0, 6:, 6:].mean((1, 2)) - 0.75)).sigmoid()[:, None]
        return (1 - bright) * seen + bright * 50 * directions[0]

    classifier.features = features
    return classifier


def test_a_small_trigger_is_found_in_the_backdoored_encoder_alone(tmp_path):
    stored = torch.randint(0, 200, (60, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    samples = LabelledSamples(stored, torch.zeros(60, dtype=torch.int64), ["a", "b"], "image-classification")
    params = DecreeParams(steps=300, batch=30)
    found = [search(new_context(tmp_path / str(bad)), planted(bad), samples, params) for bad in (False, True)]
    assert found[1].cosine > 0.99 and found[1].share < 0.1 < 0.3 < found[0].share
    assert float(found[1].mask[0, 6:, 6:].sum()) > 0.9 * float(found[1].mask.sum()), "it lies in the corner"
