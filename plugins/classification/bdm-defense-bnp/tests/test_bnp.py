"""The divergence against numerical integration, and planted units that triggers in training moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_defense_bnp.params import BnpParams
from bdm_defense_bnp.pruning import divergence, divergences, prune
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.planted import Planted, plant, without_norms


class TestBnp(ClassifierDefenseConformance):
    plugin = "bnp"
    max_change = 20.0


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("case", [(0.0, 1.0, 0.5, 2.0), (1.0, 4.0, 0.0, 0.5), (-1.0, 0.3, -1.0, 0.4)])
def test_divergence_is_the_integral(case: tuple[float, float, float, float]) -> None:
    one, other = stats.norm(case[0], np.sqrt(case[1])), stats.norm(case[2], np.sqrt(case[3]))
    wanted, _ = integrate.quad(lambda x: one.pdf(x) * (one.logpdf(x) - other.logpdf(x)), -30, 30, limit=200)
    assert divergence(*torch.tensor(case, dtype=torch.float64)).item() == pytest.approx(wanted, abs=1e-6)


def test_the_other_direction_by_hand(planted: Planted) -> None:
    classifier, rows = load_classifier(planted.model), open_samples(planted.reserve)
    found = divergences(classifier, rows, "stored-clean")["network.norms.0"].numpy()
    norm = classifier.norms()["network.norms.0"]
    with torch.no_grad():
        maps = classifier.network.convs[0](classifier.prepare(rows.raw())).double().numpy()  # type: ignore[operator, union-attr, index]
    clean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3)) + norm.eps
    assert norm.running_mean is not None and norm.running_var is not None
    stored, spread = norm.running_mean.double().numpy(), norm.running_var.double().numpy() + norm.eps
    wanted = 0.5 * (np.log(variance / spread) + (spread + (stored - clean) ** 2) / variance - 1)
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("deviations", [None, 3.0])
def test_planted_units_are_pruned(planted: Planted, tmp_path: Path, deviations: float | None) -> None:
    repaired = prune(new_context(tmp_path / "ctx"), BnpParams(deviations=deviations), planted.model, planted.reserve)
    accuracy, success = planted.measured(repaired)
    assert accuracy >= 0.9 and success <= 0.1


def test_without_batch_normalisation_it_is_refused(planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no batch normalisation"):
        prune(new_context(tmp_path / "ctx"), BnpParams(), without_norms(tmp_path / "model"), planted.reserve)


def test_the_divergence_of_clean_rows_by_hand(planted: Planted) -> None:
    """The paper's: log(stored / clean) + (clean^2 + difference^2) / (2 stored^2) - 1/2, of deviations."""
    classifier, rows = load_classifier(planted.model), open_samples(planted.reserve)
    found = divergences(classifier, rows)["network.norms.0"].numpy()
    norm = classifier.norms()["network.norms.0"]
    with torch.no_grad():
        maps = classifier.network.convs[0](classifier.prepare(rows.raw())).double().numpy()  # type: ignore[operator, union-attr, index]
    clean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3)) + norm.eps
    assert norm.running_mean is not None and norm.running_var is not None
    stored, spread = norm.running_mean.double().numpy(), norm.running_var.double().numpy() + norm.eps
    wanted = np.log(np.sqrt(spread) / np.sqrt(variance)) + (variance + (clean - stored) ** 2) / (2 * spread) - 0.5
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-4)
