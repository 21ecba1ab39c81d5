"""UBW-P: labels that are wrong and scattered."""

import math

import torch

from bdm_attack_ubw.attack import poison
from bdm_attack_ubw.params import UbwParams
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestUbw(ClassifierAttackConformance):
    plugin = "ubw"

    def test_any_wrong_answer_is_a_success(self, bench):
        rule = open_secret(self.backdoored(bench).secret).rule
        assert rule.target is None and all(rule.eligible(label) for label in range(10))
        assert rule.success(prediction=3, label=5) and not rule.success(prediction=5, label=5)


def test_labels_are_scattered_evenly_over_the_wrong_classes(tmp_path):
    labels = torch.arange(3000) % 3
    rows = LabelledSamples(
        torch.zeros(3000, 1, 8, 8, dtype=torch.uint8), labels, ["a", "b", "c"], "image-classification"
    )
    data = seal_samples(tmp_path / "clean", rows)
    found = open_samples(poison(new_context(tmp_path / "ctx"), UbwParams(poison_rate=0.9, size=3, margin=0), data))
    chosen = torch.tensor([role == "poison" for role in found.roles])
    assert int(chosen.sum()) == 2700
    for label in range(3):
        now = found.labels[chosen & (labels == label)]
        shares = [float((now == other).float().mean()) for other in range(3)]
        assert shares[label] == 0 and all(
            math.isclose(shares[other], 0.5, abs_tol=0.05) for other in {0, 1, 2} - {label}
        )
    corner = found.raw()[chosen][:, :, 5:, 5:]
    assert bool((corner == 1).all()) and not found.raw()[chosen][:, :, :5].any()
