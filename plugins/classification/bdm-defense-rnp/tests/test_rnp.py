"""Unlearning and recovery on a network with planted units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_defense_rnp import pruning
from bdm_defense_rnp.params import RnpParams
from bdm_defense_rnp.pruning import prune, recover, unlearn
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.planted import Planted, plant, without_norms
from bdm_kit_classification.training.fitting import Batch, Changes, accuracy, fit

PARAMS = RnpParams(batch_size=30, unlearn_learning_rate=0.02)


class TestRnp(ClassifierDefenseConformance):
    plugin = "rnp"
    max_change = 20.0


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


def test_what_was_unlearned_is_recovered_by_masks_alone(planted: Planted, tmp_path: Path) -> None:
    rows, classifier = open_samples(planted.reserve), load_classifier(planted.model)
    kept: dict[str, Any] = {}
    ctx = new_context(tmp_path / "ctx", on_figures=kept.update)
    unlearn(ctx, PARAMS, classifier, rows)
    assert accuracy(classifier, rows) <= PARAMS.unlearn_until
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    masks = recover(ctx, PARAMS, classifier, rows)
    assert all(value.equal(before[name]) for name, value in classifier.state_dict().items())
    assert 0 <= float(masks.mask.min()) < 1 and float(masks.mask.max()) <= 1


def test_epochs_of_unlearning_have_their_own_batches(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within an epoch's worth of steps no row comes twice but those that fill the last batch; orders differ."""
    rows = open_samples(planted.reserve)
    seen: list[list[int]] = []

    def watched(ctx: Any, classifier: Any, samples: Any, training: Any, changes: Changes, **named: Any) -> Any:
        def keep(batch: Batch, draw: Any) -> Batch:
            seen.append(batch.rows.tolist())
            return batch

        return fit(ctx, classifier, samples, training, replace(changes, batch=keep), **named)

    monkeypatch.setattr(pruning, "fit", watched)
    kept: dict[str, Any] = {}
    for until, epochs in ((0.0, 3), (1.0, 1)):
        seen.clear()
        params = RnpParams(batch_size=32, unlearn_learning_rate=1e-4, unlearn_epochs=3, unlearn_until=until)
        ctx = new_context(tmp_path / str(until), on_figures=lambda figures: kept.update(figures.get("curves", {})))
        unlearn(ctx, params, load_classifier(planted.model), rows)
        steps = -(-len(rows) // 32)
        assert len(seen) == epochs * steps and len(kept["accuracy while unlearning"]) == epochs
        assert len({tuple(batch) for batch in seen}) == len(seen)
        order = [row for batch in seen for row in batch]
        for start in range(0, len(order) - len(rows) + 1, len(rows)):
            assert sorted(order[start : start + len(rows)]) == list(range(len(rows)))


@pytest.mark.parametrize("seed", range(5))
def test_planted_units_are_pruned(seed: int, tmp_path: Path) -> None:
    planted = plant(tmp_path / "planted", seed=seed)
    params = RnpParams(batch_size=30, unlearn_learning_rate=2e-4)
    pruned = prune(new_context(tmp_path / "ctx"), params, planted.model, planted.reserve)
    accuracy, success = planted.measured(pruned)
    assert accuracy >= 0.9 and success <= 0.1


def test_what_is_pruned_keeps_its_shift_if_asked(planted: Planted, tmp_path: Path) -> None:
    before = load_classifier(planted.model).norms()
    for keep_bias in (False, True):
        params = RnpParams(batch_size=30, unlearn_learning_rate=0.001, threshold=0.9, keep_bias=keep_bias)
        ctx = new_context(tmp_path / str(keep_bias))
        after = load_classifier(prune(ctx, params, planted.model, planted.reserve)).norms()
        shut = {name: norm.weight == 0 for name, norm in after.items()}
        assert any(bool(units.any()) for units in shut.values())
        for name, norm in after.items():
            kept = before[name].bias[shut[name]] if keep_bias else torch.zeros(int(shut[name].sum()))
            assert torch.equal(norm.bias[shut[name]], kept)


def test_without_batch_normalisation_it_is_refused(planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no batch normalisation"):
        prune(new_context(tmp_path / "ctx"), RnpParams(), without_norms(tmp_path / "model"), planted.reserve)
