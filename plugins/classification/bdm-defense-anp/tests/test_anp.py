"""The worst changes against finite differences, ties of masks, and planted units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_defense_anp.params import AnpParams
from bdm_defense_anp.pruning import prune, worst_changes
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.masks import NormMasks, first_units
from bdm_kit_classification.defending.pruning import kept_sweep, prune_to
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.planted import Planted, plant, without_norms
from bdm_torch.draws import Draw


class TestAnp(ClassifierDefenseConformance):
    plugin = "anp"
    max_change = 20.0


class TestAnpOnTexts(TestAnp):
    task = "text-classification"


class TestAnpOnSound(TestAnp):
    task = "audio-classification"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


def test_worst_changes_go_where_the_loss_rises(planted: Planted) -> None:
    classifier = load_classifier(planted.model).double().requires_grad_(False)
    masks, rows = NormMasks(classifier).double(), open_samples(planted.reserve).pick([0, 1, 2, 3])
    inputs, radius = rows.raw().double(), 0.3
    draw = Draw(seed=0, step=0, batch_size=4)
    scale, shift = (value.double() for value in worst_changes(masks, inputs, rows.labels, radius, draw))
    start = [radius * (torch.rand(masks.units, generator=again) * 2 - 1) for again in [Draw(0, 0, 4).generator] * 2]

    def loss(one: torch.Tensor, other: torch.Tensor) -> float:
        return float(functional.cross_entropy(masks.logits(inputs, one, other), rows.labels))

    checked = 0
    for unit in range(0, masks.units, 11):
        ahead, behind = start[0].double(), start[0].double()
        ahead[unit] += 1e-6
        behind[unit] -= 1e-6
        slope = (loss(ahead, start[1].double()) - loss(behind, start[1].double())) / 2e-6
        if abs(slope) > 1e-4:
            wanted = min(max(float(start[0][unit]) + radius * (1 if slope > 0 else -1), -radius), radius)
            assert float(scale[unit]) == pytest.approx(wanted, abs=1e-6)
            checked += 1
    assert checked >= 2 and float(shift.abs().max()) <= radius + 1e-6


def test_units_of_one_mask_are_told_apart_by_how_early_they_closed(planted: Planted) -> None:
    masks = NormMasks(load_classifier(planted.model))
    for values in ({3: 0.5, 5: -1.0}, {3: -1.0, 5: -1.0}, {3: 0.0, 5: 0.0}):
        with torch.no_grad():
            for unit, value in values.items():
                masks.mask[unit] = value
        masks.project()
    assert masks.order()[:3] == [("network.norms.0", 5), ("network.norms.0", 3), ("network.norms.0", 0)]
    assert masks.below(0.2) == 2


def test_a_pruned_network_is_the_masked_one(planted: Planted, tmp_path: Path) -> None:
    """m w and b as in the paper: what a mask closed is pruned with its shift in place, and the stage says so."""
    classifier, inputs = load_classifier(planted.model), open_samples(planted.reserve).raw(list(range(9)))
    masks, kept = NormMasks(classifier), dict[str, Any]()
    with torch.no_grad():
        masks.mask[[1, 3, 20, 50, 70]] = 0
        wanted = masks.logits(inputs)
        prune_to(new_context(tmp_path, on_figures=kept.update), classifier, *first_units(masks, 0.2, keep_bias=True))
        assert torch.allclose(classifier(inputs), wanted)
    again = kept_sweep(kept)
    assert again is not None and again[0].keep_bias and kept["units_pruned"] == 5


def test_planted_units_are_pruned(planted: Planted, tmp_path: Path) -> None:
    kept: dict[str, Any] = {}
    ctx = new_context(tmp_path / "ctx", on_figures=kept.update)
    params = AnpParams(steps=60, batch_size=30)
    accuracy, success = planted.measured(prune(ctx, params, planted.model, planted.reserve))
    assert accuracy >= 0.9 and success <= 0.1
    assert planted.units["network.norms.0"] in kept["sweep"]["steps"][0]["network.norms.0"]


def test_without_batch_normalisation_it_is_refused(planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no batch normalisation"):
        prune(new_context(tmp_path / "ctx"), AnpParams(), without_norms(tmp_path / "model"), planted.reserve)


def test_masks_of_texts_are_of_what_the_layers_give() -> None:
    texts = ["a film", "so long a play", "not a word of it"] * 8
    samples = LabelledSamples(texts, torch.arange(24) % 2, ["no", "yes"], "text-classification")
    classifier = samples.modality.small_classifier(texts, samples.classes, 0)
    tokens, masks = classifier.tokens(texts[:3]), NormMasks(classifier)
    assert masks.units == 3 * 64 and torch.equal(masks.logits(tokens), classifier(tokens))
    with torch.no_grad():
        masks.mask[70] = 0
        changed = masks.logits(tokens)
        name, unit = masks.order()[0]
        assert (name, unit) == ("network.convs.1", 6)
        dict(classifier.named_modules())[name].weight[unit] = 0
        assert torch.allclose(classifier(tokens), changed)
