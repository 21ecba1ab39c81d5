"""CUBE: planted clusters, and shuffled flags."""

from __future__ import annotations

import torch

from bdm_defense_cube.method import clustered, judged, project
from bdm_defense_cube.params import CubeParams
from bdm_kit_classification.testing import RowDetectorConformance


class TestCube(RowDetectorConformance):
    plugin = "cube"
    task = "text-classification"


def planted(poison: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (N, 12) of two classes of 200 rows, of which the first has ``poison`` further rows far away, labels, and
    which rows these are."""
    chance = torch.Generator().manual_seed(3)
    features = torch.randn(400 + poison, 12, generator=chance, dtype=torch.float64)
    labels = torch.tensor([0] * 200 + [1] * 200 + [0] * poison)
    features[labels == 1, 0] += 15
    features[400:, 4] += 12
    return features, labels, torch.arange(len(labels)) >= 400


def test_planted_rows_are_a_cluster_of_their_own():
    features, labels, poisoned = planted()
    params = CubeParams(components=5)
    scores = judged(*clustered(project(features, params, 0), params.neighbours), labels, params.largest_share)
    flagged = scores > 0.75
    f1 = 2 * int((flagged & poisoned).sum()) / int(flagged.sum() + poisoned.sum())
    shuffled = poisoned[torch.randperm(len(poisoned), generator=torch.Generator().manual_seed(1))]
    assert f1 > 0.9 and 2 * int((flagged & shuffled).sum()) / int(flagged.sum() + poisoned.sum()) < 0.3


def test_clean_classes_are_kept():
    features, labels, _ = planted(poison=0)
    scores = judged(*clustered(project(features, CubeParams(), 0), 20), labels, 0.5)
    assert not (scores > 0.75).any()


def test_a_large_second_cluster_is_kept_and_a_class_without_clusters_too():
    clusters = torch.tensor([0] * 5 + [1] * 4 + [2] + [-1] * 3)
    labels = torch.tensor([7] * 10 + [8] * 3)
    scores = judged(clusters, torch.ones(13), labels, 0.4)
    assert scores.tolist() == [0.0] * 9 + [2.0] + [0.0] * 3


def test_few_and_equal_rows():
    assert clustered(torch.zeros(3, 2), 20)[0].tolist() == [0, 0, 0]
    assert project(torch.ones(6, 4), CubeParams(), 0).tolist() == [[0.0]] * 6


def test_small_clusters_are_clusters_if_few_rows_make_one():
    """Nine rows far away: among a hundred neighbours no cluster of their own, unless five rows are enough for one."""
    features, _, poisoned = planted(poison=9)
    points = project(features, CubeParams(components=5), 0)
    few, many = (clustered(points, 8, smallest)[0][poisoned] for smallest in (5, 30))
    assert len(few.unique()) == 1 and int(few[0]) >= 0 and not torch.isin(few[0], clustered(points, 8, 5)[0][~poisoned])
    assert bool(torch.isin(many, torch.cat([clustered(points, 8, 30)[0][~poisoned], torch.tensor([-1])])).all())
