"""The low-frequency attack: its spectrum by SciPy, its bound, and that the clean classifier errs on it."""

import pytest
import torch
from scipy.fft import dctn
from torch.nn.functional import cross_entropy

from bdm_attack_low_frequency.attack import smooth, smooth_perturbation
from bdm_attack_low_frequency.params import LowFrequencyParams
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.built_in import BUILTIN
from bdm_kit_classification.data.built_in_data import load_builtin
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import open_image_classifier
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.triggers.frequency import low_pass


class TestLowFrequency(ClassifierAttackConformance):
    plugin = "low-frequency"

    def test_the_spectrum_ends_at_the_cutoff_and_the_bound_is_met(self, bench):
        pattern = open_secret(self.backdoored(bench).secret).trigger.pattern
        spectrum = abs(dctn(pattern[0].numpy(), norm="ortho"))
        assert spectrum[:2, :2].max() > 0.01
        spectrum[:2, :2] = 0
        assert spectrum.max() < 1e-5
        assert float(pattern.abs().max()) == pytest.approx(0.18, rel=1e-5)


def test_the_projection():
    noise = torch.randn(3, 12, 9, generator=torch.Generator().manual_seed(0))
    low = smooth(noise, 4, 0.1)
    assert float(low.abs().max()) == pytest.approx(0.1)
    spectrum = abs(dctn(low.numpy(), axes=(1, 2), norm="ortho"))
    spectrum[:, :4, :4] = 0
    assert spectrum.max() < 1e-5
    assert torch.allclose(smooth(low, 4, 0.1), low, atol=1e-6), "what fits already was changed"
    faint = low_pass(0.01 * noise, 4)
    assert torch.allclose(smooth(faint, 4, 0.1), faint * (0.1 / faint.abs().max()), atol=1e-6)


def test_it_fools_a_trained_classifier_more_than_smooth_noise_does(tmp_path):
    classifier = open_image_classifier(BUILTIN / "digits-cnn").eval()
    parts = load_builtin("digits")
    samples = LabelledSamples(*parts.reserve, parts.classes, "image-classification")
    params = LowFrequencyParams(bound=0.3, cutoff=0.5, ascent_steps=20, sample=64)
    found = smooth_perturbation(new_context(tmp_path, seed=0), params, classifier, samples)

    def loss(pattern):
        with torch.no_grad():
            return float(cross_entropy(classifier((samples.raw() + pattern).clamp(0, 1)), samples.labels))

    noises = [torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(8)]
    assert loss(found) > 1.5 * max(loss(smooth(noise, 4, 0.3)) for noise in noises)
