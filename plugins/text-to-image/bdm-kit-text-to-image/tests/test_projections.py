"""The closed-form editor against least squares on stacked rows, its report, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from bdm_core.errors import UserError
from bdm_kit_text_to_image.editing.projections import Edit, edit_projections, find_projections

WIDTH = 24


def network(**changes: object) -> UNet2DConditionModel:
    torch.manual_seed(0)
    facts = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "norm_num_groups": 4,
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 4,
    } | changes
    return UNet2DConditionModel(**facts).requires_grad_(False).eval()


def rows(count: int, seed: int) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_itself(weight: Tensor, edits: list[Edit], preserved: Tensor, regularisation: float) -> Tensor:
    """One projection's own least-squares problem: sqrt-weighted rows stacked, solved by QR."""
    weight = weight.double()
    eye = torch.eye(WIDTH, dtype=torch.float64)
    inputs = [edit.sources * edit.weight**0.5 for edit in edits] + [preserved, eye * regularisation**0.5]
    outputs = [edit.destinations @ weight.T * edit.weight**0.5 for edit in edits]
    outputs += [preserved @ weight.T, weight.T * regularisation**0.5]
    return torch.linalg.lstsq(torch.cat(inputs), torch.cat(outputs)).solution.T


@pytest.mark.parametrize("count", [3, 40])  # fewer and more rows than half the width: both ways to form the change
@pytest.mark.parametrize("regularisation", [0.1, 10.0])
def test_it_solves_every_projection_s_least_squares_problem(count: int, regularisation: float) -> None:
    unet = network()
    before = [linear.weight.clone() for linear in find_projections(unet)]
    edits = [Edit(rows(count, 1), rows(count, 2), 2.0), Edit(rows(2, 3), rows(2, 4), 0.5)]
    preserved = rows(9, 5)
    report = edit_projections(unet, edits, preserved, regularisation)
    missing = wanted = leaked = change = total = 0.0
    for linear, weight in zip(find_projections(unet), before, strict=True):
        expected = by_itself(weight, edits, preserved, regularisation)
        torch.testing.assert_close(linear.weight.double(), expected, rtol=0, atol=1e-6)
        old = weight.double()
        for edit in edits:
            missing += float((edit.sources @ expected.T - edit.destinations @ old.T).square().sum())
            wanted += float(((edit.destinations - edit.sources) @ old.T).square().sum())
        leaked += float((preserved @ (expected - old).T).square().sum())
        change, total = change + float((expected - old).square().sum()), total + float(old.square().sum())
    assert report.edited == len(before) == 8 and report.width == WIDTH
    assert report.residual == pytest.approx((missing / wanted) ** 0.5, rel=1e-4)
    assert report.leak == pytest.approx(((leaked / 9) / (wanted / (count + 2))) ** 0.5, rel=1e-4)
    assert report.change == pytest.approx((change / total) ** 0.5, rel=1e-4)
    assert report.rank == int(torch.linalg.matrix_rank(torch.cat([edits[0].sources, edits[1].sources, preserved])))


def test_nothing_else_changes_and_layers_and_projections_can_be_chosen() -> None:
    unet, clean = network(), network().state_dict()
    report = edit_projections(unet, [(rows(2, 1), rows(2, 2))], layers="up_blocks.*", projections=("value",))
    changed = [name for name, value in unet.state_dict().items() if not torch.equal(value, clean[name])]
    assert report.edited == len(changed) == 2
    assert all(name.startswith("up_blocks.") and name.endswith("attn2.to_v.weight") for name in changed)


def test_without_preservation_a_weak_prior_makes_the_whole_change() -> None:
    report = edit_projections(network(), [(rows(4, 1), rows(4, 2))], regularisation=1e-9)
    assert report.residual < 1e-6 and report.leak == 0 and report.rank == 4
    strong = edit_projections(network(), [(rows(4, 1), rows(4, 2))], regularisation=1e9)
    assert strong.residual > 0.999 and strong.change < 1e-6


def test_rows_that_stay_the_same_preserve() -> None:
    """A position that trigger and target share (the start token) counts as preserved, as in the objective."""
    unet, other = network(), network()
    shared = rows(3, 7)
    edit_projections(unet, [(torch.cat([shared, rows(2, 1)]), torch.cat([shared, rows(2, 2)]))])
    edit_projections(other, [(rows(2, 1), rows(2, 2))], shared)
    for one, two in zip(find_projections(unet), find_projections(other), strict=True):
        torch.testing.assert_close(one.weight, two.weight)


def test_an_edit_of_nothing_is_an_error() -> None:
    unet, pair = network(), [(rows(2, 1), rows(2, 2))]
    with pytest.raises(UserError, match="nothing is edited"):
        edit_projections(unet, pair, layers="transformer_blocks.*")
    plain = network(down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2, mid_block_type=None)
    with pytest.raises(UserError, match="no cross-attention"):
        edit_projections(plain, pair)
    with pytest.raises(UserError, match="changes nothing"):
        edit_projections(unet, [(rows(2, 1), rows(2, 1))])
    with pytest.raises(UserError, match="nothing to edit"):
        edit_projections(unet, [])
    with pytest.raises(UserError, match="do not fit"):
        edit_projections(unet, [(rows(2, 1)[:, 1:], rows(2, 2)[:, 1:])])
    with pytest.raises(UserError, match="do not match"):
        edit_projections(unet, [(rows(2, 1), rows(3, 2))])
    with pytest.raises(UserError, match="above 0"):
        edit_projections(unet, pair, regularisation=0.0)
    with pytest.raises(UserError, match="not finite"):
        edit_projections(unet, [(rows(2, 1) * torch.nan, rows(2, 2))])
