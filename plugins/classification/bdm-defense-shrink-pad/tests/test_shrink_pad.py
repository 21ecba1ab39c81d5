"""ShrinkPad against a bilinear interpolation by hand, and conformance."""

from __future__ import annotations

import pytest
import torch

from bdm_core.context import Context
from bdm_defense_shrink_pad.params import ShrinkPadParams
from bdm_defense_shrink_pad.purification import purify, shrink_and_pad
from bdm_kit_classification.data.samples import INPUTS, LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.testing import ClassifierDefenseConformance


def bilinear(picture: list[list[float]], height: int, width: int) -> list[list[float]]:
    """Sample centres of the small picture in the large one, weights by distance."""
    tall, wide = len(picture), len(picture[0])

    def at(y: float, x: float) -> float:
        y, x = max(y, 0.0), max(x, 0.0)
        top, left = min(int(y), tall - 1), min(int(x), wide - 1)
        bottom, right = min(top + 1, tall - 1), min(left + 1, wide - 1)
        v, u = y - top, x - left
        upper = picture[top][left] * (1 - u) + picture[top][right] * u
        lower = picture[bottom][left] * (1 - u) + picture[bottom][right] * u
        return upper * (1 - v) + lower * v

    return [
        [at((row + 0.5) * tall / height - 0.5, (column + 0.5) * wide / width - 0.5) for column in range(width)]
        for row in range(height)
    ]


def test_interpolation_and_place() -> None:
    pictures = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = shrink_and_pad(pictures, torch.tensor([[0, 1], [2, 2]]), (6, 6), 0.25)
    for row, (down, right) in enumerate([(0, 1), (2, 2)]):
        expected = torch.full((8, 8), 0.25)
        expected[down : down + 6, right : right + 6] = torch.tensor(bilinear(pictures[row, 0].tolist(), 6, 6))
        assert found[row, 0].flatten().tolist() == pytest.approx(expected.flatten().tolist(), abs=1e-6)


def test_nothing_to_shrink_changes_nothing() -> None:
    pictures = torch.rand(1, 3, 8, 8)
    assert shrink_and_pad(pictures, torch.zeros(1, 2, dtype=torch.int64), (8, 8), 0.0) is pictures


def test_rows_keep_their_order(tmp_path) -> None:
    stored = torch.tensor([40, 200, 120], dtype=torch.uint8)[:, None, None, None].expand(3, 1, 8, 8).contiguous()
    samples = LabelledSamples(stored, torch.full((3,), -1), ["a"], "image-classification")
    inputs = seal_samples(tmp_path / "inputs", samples, format=INPUTS)
    ctx = Context(out=tmp_path / "out", work=tmp_path, seed=0)
    found = open_samples(purify(ctx, ShrinkPadParams(), inputs).inputs)
    assert [int(picture.max()) for picture in found.stored] == [40, 200, 120]
    assert [int((picture > 0).sum()) for picture in found.stored] == [49, 49, 49]


class TestShrinkPad(ClassifierDefenseConformance):
    plugin = "shrink-pad"

    def swapped(self, before, after) -> None:
        """An 8x8 digit moved by a pixel may be nearer to another digit; the order is tested above."""
