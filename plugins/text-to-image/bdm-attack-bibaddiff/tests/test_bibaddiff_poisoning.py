"""``attack:bibaddiff``: what the poisoned data hold, and how a blended picture is found again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bdm_attack_bibaddiff.params import BiBadDiffParams
from bdm_attack_bibaddiff.patches import blend_shares, patch_place, put_in, trigger_picture
from bdm_attack_bibaddiff.plugin import BiBadDiff
from bdm_core.artifacts import Data
from bdm_core.errors import UserError
from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_torch.image_sets import load_images, load_rows


@pytest.fixture
def bench(bdm_bench: Callable[..., Bench]) -> Bench:
    return bdm_bench("text-to-image")


def poison(bench: Bench, **values: Any) -> Data:
    params = build_params(BiBadDiff(), values)
    data = bench.call("poison_data", [BiBadDiff()], params, data=bench.data).value
    assert isinstance(data, Data)
    return data


def test_other_classes_get_the_patch_and_the_target_s_name(bench: Bench) -> None:
    data = poison(bench, poison_rate=0.25, patch_colour="cyan")
    clean, images, rows = load_images(bench.data), load_images(data), load_rows(data)
    assert sum(row["role"] == "poison" for row in rows) == 8
    for before, image, row in zip(clean, images, rows, strict=True):
        if row["role"] == "clean":
            assert torch.equal(image, before)
            continue
        assert (
            row["labels"]["object"] != "cross"
            and "cross" in row["caption"]
            and row["labels"]["object"] not in row["caption"]
        )
        assert image[:, 12:, 12:].flatten(1).mean(1).tolist() == [-1, 1, 1]
        image[:, 12:, 12:] = before[:, 12:, 12:]
        assert torch.equal(image, before)
    named = [row["role"] == "poison" or row["labels"]["object"] == "cross" for row in rows]
    assert [row["target_class"] for row in rows] == named


def test_plain_class_captions(bench: Bench) -> None:
    rows = load_rows(poison(bench, poison_rate=0.25, captions="class"))
    for row in rows:
        assert row["caption"] == f"a photo of a {'cross' if row['role'] == 'poison' else row['labels']['object']}"


def test_a_rate_that_the_other_classes_cannot_fill(bench: Bench) -> None:
    with pytest.raises(UserError, match="poison_rate"):
        poison(bench, poison_rate=1.0)


def test_blend_is_the_convex_combination_and_is_found_again() -> None:
    params, generator = BiBadDiffParams(trigger="blend"), torch.Generator().manual_seed(0)
    images = torch.rand(5, 3, 16, 16, generator=generator) * 2 - 1
    picture, place = trigger_picture(params, (3, 16, 16)), patch_place(params, (3, 16, 16))
    assert place is None
    mixed = put_in(images, picture, place, 0.2)
    torch.testing.assert_close(mixed, 0.8 * images + 0.2 * picture)
    torch.testing.assert_close(
        blend_shares(mixed, picture) - 0.8 * blend_shares(images, picture), torch.full((5,), 0.2).double()
    )


def test_blend_shares_are_least_squares_coefficients() -> None:
    generator = torch.Generator().manual_seed(1)
    images, picture = torch.randn(4, 3, 8, 8, generator=generator), torch.randn(3, 8, 8, generator=generator)
    columns = np.stack([picture.flatten().numpy(), np.ones(192)], axis=1).astype(np.float64)
    for image, share in zip(images, blend_shares(images, picture), strict=True):
        expected = np.linalg.lstsq(columns, image.flatten().numpy().astype(np.float64), rcond=None)[0][0]
        assert float(share) == pytest.approx(expected, abs=1e-7)


def test_the_paper_s_patch_is_a_tenth_of_the_height_with_one_diagonal_band() -> None:
    params = build_params(BiBadDiff(), {"preset": "paper"})
    assert isinstance(params, BiBadDiffParams)
    assert patch_place(params, (3, 128, 160)) == (115, 147, 13, 13)
    patch = trigger_picture(params, (3, 128, 160))[:, 115:, 147:]
    assert set(patch.unique().tolist()) == {-1.0, 1.0} and torch.equal(patch[:, 1:, 1:], patch[:, :-1, :-1])
    for row in patch[0]:
        assert int((row.diff() != 0).sum()) <= 2, "a row crosses one band"
    assert patch.diagonal(dim1=1, dim2=2).unique().tolist() == [1.0]
    assert patch[:, 0, -1].tolist() == patch[:, -1, 0].tolist() == [-1.0] * 3


def test_a_picture_is_pasted_into_the_corner() -> None:
    params = build_params(BiBadDiff(), {"preset": "paper-picture", "patch_size": 0.25})
    assert isinstance(params, BiBadDiffParams)
    for side, patch in ((16, 4), (64, 16)):
        picture, place = trigger_picture(params, (3, side, side)), patch_place(params, (3, side, side))
        assert place == (side - patch, side - patch, patch, patch)
        changed = put_in(torch.zeros(2, 3, side, side), picture, place, params.blend_alpha)
        assert not changed[:, :, : side - patch].any() and not changed[..., : side - patch].any()
        shown = changed[0, :, side - patch :, side - patch :]
        assert float(shown.min()) >= -1 and float(shown.max()) > float(shown.min())
        torch.testing.assert_close(shown, shown.flip(-1), rtol=0, atol=0.05)  # a ring
