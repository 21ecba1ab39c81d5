"""The condensed tree against SciPy, scikit-learn and trees by hand; what parts from the largest cluster."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import HDBSCAN

from bdm_core.errors import UserError
from bdm_defense_flare.condensed_tree import CondensedTree, condensed_tree, merges, spanning_tree
from bdm_defense_flare.params import FlareParams
from bdm_defense_flare.plugin import Flare
from bdm_defense_flare.separation import by_umap, parted, separate, stable_density, standardised
from bdm_kit_classification.testing import RowDetectorConformance


class TestTree(RowDetectorConformance):
    plugin = "flare"
    params = {
        "epochs": 1,
        "batch_size": 10,
        "rule": "tree",
        "numbers": "likelihoods",
        "smallest_cluster": 5,
        "neighbours": 2,
    }


def blobs(seed: int = 0, rows: int = 300) -> np.ndarray:
    """Three groups in the plane, of unequal density."""
    chance = np.random.default_rng(seed)
    centres, widths = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 14.0]]), np.array([[1.0], [0.5], [2.0]])
    group = np.arange(rows) % 3
    return centres[group] + widths[group] * chance.normal(size=(rows, 2))


def reachability(values: np.ndarray, neighbours: int) -> np.ndarray:
    """All distances by definition."""
    away = squareform(pdist(values))
    core = np.sort(away, 1)[:, neighbours - 1]
    apart = np.maximum(away, np.maximum(core[:, None], core[None]))
    return apart - np.diag(np.diag(apart))


@pytest.mark.parametrize("neighbours", [1, 5, 40])
def test_merges_are_single_linkage(neighbours: int) -> None:
    values = blobs(rows=120)
    joined = merges(*spanning_tree(values, neighbours))
    expected = linkage(squareform(reachability(values, neighbours)), "single")
    np.testing.assert_allclose([length for *_, length, _ in joined], expected[:, 2])
    found = np.array(joined, dtype=float)
    np.testing.assert_allclose(cophenet(found), cophenet(expected))


@pytest.mark.parametrize("smallest", [2, 15, 40])
def test_clusters_at_a_density_are_those_of_scikit_learn(smallest: int) -> None:
    values = blobs()
    tree = condensed_tree(values, smallest, 10)
    other = HDBSCAN(min_cluster_size=smallest, min_samples=10, copy=True).fit(values)
    seen = set()
    for density in np.linspace(0.1, 6, 40):
        ours, theirs = tree.at(density), other.dbscan_clustering(1 / density, min_cluster_size=smallest)
        assert ((ours < 0) == (theirs < 0)).all()
        pairs = {pair for pair in zip(ours.tolist(), theirs.tolist(), strict=True) if pair[0] >= 0}
        assert len({one for one, _ in pairs}) == len({two for _, two in pairs}) == len(pairs)
        seen.add(len(pairs))
    assert len(seen) > 1, "the number of clusters must differ for the test to tell anything"


def test_tree_by_hand() -> None:
    """Gaps of 1, 1, 8, 1, 2, 30, 1 and 3 between nine places: the longest is cut first, parts below two fall out."""
    values = np.cumsum([0.0, 1, 1, 8, 1, 2, 30, 1, 3])[:, None]
    tree = condensed_tree(values, smallest=2, neighbours=1)
    by_members = {
        tuple(np.flatnonzero(tree.at(birth * 1.0001) == cluster)): (birth, death, tree.parents[cluster])
        for cluster, (birth, death) in enumerate(zip(tree.births, tree.deaths, strict=True))
        if cluster
    }
    first = {members: times[:2] for members, times in by_members.items() if times[2] == 0}
    assert first == {tuple(range(6)): (1 / 30, 1 / 8), (6, 7, 8): (1 / 30, 1.0)}
    second = {members: times[:2] for members, times in by_members.items() if times[2] != 0}
    assert second == {(0, 1, 2): (1 / 8, 1.0), (3, 4, 5): (1 / 8, 1.0)}
    np.testing.assert_allclose(tree.leaves, [1, 1, 1, 1, 1, 1 / 2, 1, 1, 1 / 3])
    assert tree.at(0.2).tolist() == tree.at(0.13).tolist() and (tree.at(0.4) < 0).tolist() == [False] * 8 + [True]


def test_equal_rows_have_finite_densities() -> None:
    tree = condensed_tree(np.zeros((6, 2)), 2, 2)
    assert np.isfinite(tree.leaves).all()


def made(births: list[float], deaths: list[float], parents: list[int], sizes: list[int]) -> CondensedTree:
    rows = np.zeros(sizes[0], dtype=np.int64)
    return CondensedTree(parents, births, deaths, sizes, rows, np.ones(sizes[0]))


def test_one_goes_down_to_the_first_stable_cluster() -> None:
    """0 -> 1 (60), 2 (40); 1 -> 3 (20), 4 (40); 4 lasts."""
    tree = made([0, 0.1, 0.1, 0.11, 0.11], [0.1, 0.11, 0.9, 0.5, 0.61], [-1, 0, 0, 1, 1], [100, 60, 40, 20, 40])
    assert stable_density(tree, 0.005, 3) == (0.11, pytest.approx(0.01))
    assert stable_density(tree, 0.02, 3) == (pytest.approx(0.13), pytest.approx(0.5))
    assert stable_density(tree, 0.02, 1) is None
    assert stable_density(tree, 0.6, 3) is None
    assert stable_density(made([0.0], [2.0], [-1], [9]), 0.02, 3) is None


def test_what_parts_is_all_but_the_largest_cluster() -> None:
    values = blobs(rows=300)[np.arange(300) % 3 != 1][:150]
    far = np.concatenate([values, np.array([[30.0, 30.0]]) + np.random.default_rng(1).normal(size=(40, 2)) / 4])
    found = parted(condensed_tree(far, 20, 5), 0.15)
    assert set((found[150:] > 0).tolist()) == {True} and float(found.max()) == 1.0
    assert float(found.min()) == 0.0


def test_layers_are_left_out_until_a_cluster_is_stable() -> None:
    """Of three layers the last one spreads all rows, so that nothing is dense."""
    chance = torch.Generator().manual_seed(1)
    vectors = torch.randn(600, 3, generator=chance, dtype=torch.float64) * torch.tensor([0.2, 0.2, 300.0])
    poisoned = torch.arange(600) % 10 == 0
    vectors[poisoned, :2] += 4
    found = separate(vectors, lambda chosen: chosen.numpy(), 30, 10, 0.5, 3)
    assert found is not None and found.left_out == 1 and found.lasting > 0.5
    flagged = found.membership > 0
    assert 2 * float((flagged & poisoned).sum()) / float(flagged.sum() + poisoned.sum()) > 0.95
    shuffled = poisoned[torch.randperm(600, generator=chance)]
    assert 2 * float((flagged & shuffled).sum()) / float(flagged.sum() + shuffled.sum()) < 0.25


def test_one_cluster_parts_from_nothing() -> None:
    vectors = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert separate(vectors, standardised, 40, 10, 0.02, 3) is None


def test_without_umap_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    published = FlareParams(**Flare.presets["paper"])
    with pytest.raises(UserError, match=r"pip install 'bdm-defense-flare\[umap\]', or set embedding=none"):
        Flare().check(published, 100)
    Flare().check(published.model_copy(update={"embedding": "none"}), 1)
    with pytest.raises(UserError, match="umap-learn"):
        by_umap(torch.zeros(9, 2), 3, 0)


def test_umap_keeps_groups_apart_where_it_is_installed() -> None:
    pytest.importorskip("umap", reason="the extra umap is not installed")
    vectors = torch.randn(300, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    poisoned = torch.arange(300) % 6 == 0
    vectors[poisoned] = 0.2 * vectors[poisoned] + 8
    places = by_umap(vectors, 15, 3)
    assert places.shape == (300, 2) and np.array_equal(places, by_umap(vectors, 15, 3))
    found = separate(vectors, lambda chosen: by_umap(chosen, 15, 3), 30, 10, 0.02, 3)
    assert found is not None and bool(((found.membership > 0) == poisoned).double().mean() > 0.95)
