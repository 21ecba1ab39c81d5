"""The entropy against SciPy's, and planted units that have two modes on poisoned rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy import stats

from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_defense_ep.params import EpParams
from bdm_defense_ep.pruning import entropies, prune, suspicion
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.testing.planted import Planted, plant, without_norms


class TestEp(ClassifierDefenseConformance):
    plugin = "ep"
    max_change = 20.0


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


def test_entropy_is_vasiceks() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(300, 3, generator=generator, dtype=torch.float64) * 5 + 2
    values[:30, 2] += 60
    shaped = ((values - values.mean(0)) / values.std(0, correction=0)).numpy()
    assert entropies(values).numpy() == pytest.approx(stats.differential_entropy(shaped, method="vasicek"))


def test_two_modes_have_less_entropy_than_one_and_no_spread_has_none() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(500, 3, generator=generator)
    values[:50, 1] += 30
    values[:, 2] = 7
    one, two, none = entropies(values).tolist()
    assert two < one - 0.5 and none != none


def test_equal_values_are_no_second_mode() -> None:
    """A third of the rows exactly equal, as those behind a saturated stroke, is less suspicious than a mode far away;
    where a unit has both, the mode shows all the same.
    """
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2000, 3, generator=generator)
    values[:700, ::2] = 0.0
    values[1900:, 1:] += 40
    tied, far, both = entropies(values).tolist()
    assert far < tied - 0.5 and both < tied - 0.5
    floor = torch.tensor(0.01 * 2000 / (2 * 45)).log()
    assert float(entropies((torch.arange(2000) == 0).double()[:, None])) >= floor


def test_a_small_trigger_shows_in_the_maximum_of_a_map_and_hardly_in_its_mean(planted: Planted) -> None:
    unit, classifier = planted.units["network.norms.0"], load_classifier(planted.model)
    by_pooling = {
        pooling: suspicion(classifier, open_samples(planted.training), pooling)["network.norms.0"].nan_to_num(-9)
        for pooling in ("max", "mean", "both")
    }
    assert int(by_pooling["max"].argmax()) == unit and float(by_pooling["max"][unit]) > 2.5
    assert float(by_pooling["mean"][unit]) < 1
    assert by_pooling["both"].equal(torch.maximum(by_pooling["max"], by_pooling["mean"]))


@pytest.mark.parametrize("deviations", [None, 3.0])
def test_planted_units_are_pruned(planted: Planted, tmp_path: Path, deviations: float | None) -> None:
    params = EpParams(deviations=deviations, pooling="max")
    repaired = prune(new_context(tmp_path / "ctx"), params, planted.model, planted.reserve, planted.training)
    accuracy, success = planted.measured(repaired)
    assert accuracy >= 0.9 and success <= 0.1


def test_without_batch_normalisation_it_is_refused(planted: Planted, tmp_path: Path) -> None:
    model = without_norms(tmp_path / "model")
    with pytest.raises(UserError, match="no batch normalisation"):
        prune(new_context(tmp_path / "ctx"), EpParams(), model, planted.reserve, planted.training)
