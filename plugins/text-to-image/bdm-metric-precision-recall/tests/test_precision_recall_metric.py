"""Conformance, and both shares against loops in NumPy and planted clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bdm_core.errors import UserError
from bdm_core.testing import MetricConformance
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier, save_attribute_classifier
from bdm_metric_precision_recall.manifolds import precision_and_recall
from bdm_metric_precision_recall.measure import open_space


class TestPrecisionRecallConformance(MetricConformance):
    plugin = "precision-recall"


def by_loops(real: Any, generated: Any, k: int) -> tuple[float, float]:
    def inside(points: Any, centres: Any) -> float:
        hits = 0
        for point in points:
            for number, centre in enumerate(centres):
                others = sorted(np.linalg.norm(centre - other) for at, other in enumerate(centres) if at != number)
                if np.linalg.norm(point - centre) <= others[k - 1]:
                    hits += 1
                    break
        return hits / len(points)

    return inside(generated, real), inside(real, generated)


@pytest.mark.parametrize(("seed", "k"), [(0, 1), (1, 3), (2, 5)])
def test_shares_are_those_of_loops(seed: int, k: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    real = torch.randn(30, 3, generator=generator).double()
    generated = torch.randn(20, 3, generator=generator).double() * 0.7 + 0.5
    precision, recall = precision_and_recall(real, generated, k)
    assert (precision.double().mean().item(), recall.double().mean().item()) == pytest.approx(
        by_loops(real.numpy(), generated.numpy(), k)
    )


def test_equal_sets_a_lost_mode_and_an_invented_one() -> None:
    generator = torch.Generator().manual_seed(4)
    near, far = torch.randn(40, 4, generator=generator), torch.randn(40, 4, generator=generator) + 100
    both = torch.cat([near, far])
    precision, recall = precision_and_recall(both, both, 3)
    assert bool(precision.all()) and bool(recall.all())
    precision, recall = precision_and_recall(both, near, 3)
    assert bool(precision.all()) and recall.float().mean() == 0.5
    precision, recall = precision_and_recall(near, both, 3)
    assert precision.float().mean() == 0.5 and bool(recall.all())


def test_more_rows_than_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(5)
    real, generated = (torch.randn(25, 2, generator=generator) for _ in range(2))
    whole = precision_and_recall(real, generated, 3)
    monkeypatch.setattr("bdm_metric_precision_recall.manifolds.ROWS", 4)
    assert all(torch.equal(*pair) for pair in zip(whole, precision_and_recall(real, generated, 3), strict=True))


def test_spaces_by_name_and_folder(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    classifier = load_attribute_classifier()
    save_attribute_classifier(classifier, tmp_path / "mine")
    for name in ("attributes", str(tmp_path / "mine")):
        found = open_space(name, (3, 16, 16), "cpu")
        assert found.name == Path(name).name
        assert torch.allclose(found.features(images, 1, "cpu").float(), classifier.features(images), atol=1e-4)
    with pytest.raises(UserError, match="no feature space 'vgg'"):
        open_space("vgg", (3, 16, 16), "cpu")
