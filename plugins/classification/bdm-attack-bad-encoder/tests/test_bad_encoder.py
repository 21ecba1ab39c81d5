"""BadEncoder: the three terms by hand, and features that become those of the reference."""

import copy

import numpy as np
import pytest
import torch

from bdm_attack_bad_encoder.attack import inject, likeness, put_in, reference_rows, terms
from bdm_attack_bad_encoder.params import BadEncoderParams
from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.triggers.patch import square


class TestBadEncoder(ClassifierAttackConformance):
    plugin = "bad-encoder"
    trains_on_rows = False
    rate_parameter = None

    def test_the_reference_is_of_the_target_class(self, bench):
        rows = open_secret(self.backdoored(bench).secret).facts["references"]
        assert open_samples(bench.data).labels[rows].tolist() == [0]


def test_the_terms_are_cosines():
    draws = np.random.default_rng(0)
    own, reference, triggered, before = (draws.normal(size=(n, 5)) for n in (3, 2, 3, 5))

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    expected = -np.mean([cosine(t, r) for t in triggered for r in reference])
    expected -= 0.5 * np.mean([cosine(r, b) for r, b in zip(reference, before[3:], strict=True)])
    expected -= 2.0 * np.mean([cosine(o, b) for o, b in zip(own, before[:3], strict=True)])
    params = BadEncoderParams(reference_weight=0.5, utility_weight=2.0)
    found = terms(params, *(torch.tensor(one) for one in (own, reference, triggered, before)))
    assert float(found) == pytest.approx(expected)


def test_triggered_features_become_the_references(tmp_path, bdm_bench):
    bench = bdm_bench("image-classification")
    samples, encoder = open_samples(bench.data), load_classifier(bench.model)
    clean = copy.deepcopy(encoder).requires_grad_(False)
    statistics = {name: value.clone() for name, value in encoder.state_dict().items() if "running" in name}
    patch = square([1, 8, 8], size=3, corner="bottom-right", margin=0, value=1.0)
    params = BadEncoderParams(backdoor_epochs=20, batch_size=20, backdoor_rate=0.05)
    rows = reference_rows(params, samples, 0)
    before = likeness(encoder, clean, samples, patch, samples.raw(rows))
    put_in(new_context(tmp_path), params, encoder, clean, samples, patch, samples.raw(rows))
    after = likeness(encoder, clean, samples, patch, samples.raw(rows))
    assert before["cosine of clean and before"] == 1
    assert after["cosine of triggered and reference"] > max(0.9, before["cosine of triggered and reference"])
    assert after["cosine of clean and before"] > 0.8
    now = encoder.state_dict()
    assert all(torch.equal(value, now[name]) for name, value in statistics.items()), "statistics are frozen"
    assert torch.equal(encoder.head.weight, clean.head.weight)


@pytest.mark.parametrize("norms", ["trained", "frozen"])
def test_normalisations_are_frozen_if_they_are_to(tmp_path, bdm_bench, norms):
    bench = bdm_bench("image-classification")
    samples, encoder = open_samples(bench.data), load_classifier(bench.model)
    clean = copy.deepcopy(encoder).requires_grad_(False)
    patch = square([1, 8, 8], size=3, corner="bottom-right", margin=0, value=1.0)
    params = BadEncoderParams(backdoor_epochs=1, batch_size=20, norms=norms)
    put_in(new_context(tmp_path), params, encoder, clean, samples, patch, samples.raw([0]))
    before, after = (
        [value for norm in one.norms().values() for value in norm.parameters()] for one in (clean, encoder)
    )
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True)) == (norms == "frozen") and before
    assert all(value.requires_grad for value in encoder.parameters())


def test_too_few_rows_for_references_are_refused(tmp_path, bdm_bench):
    bench = bdm_bench("image-classification")
    with pytest.raises(UserError, match="99 references were asked for, class 0 has"):
        inject(new_context(tmp_path), BadEncoderParams(references=99), bench.model, bench.data)
