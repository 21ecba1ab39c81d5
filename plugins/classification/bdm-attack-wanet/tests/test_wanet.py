"""WaNet against bilinear interpolation written out pixel by pixel, and its batches against its rates."""

import math

import torch

from bdm_attack_wanet.attack import Warp, smooth_field, warp_some
from bdm_attack_wanet.params import WaNetParams
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.training.fitting import Batch
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_torch.draws import Draw


class TestWaNet(ClassifierAttackConformance):
    plugin = "wanet"

    def test_the_view_has_twice_as_many_negatives(self, bench):
        roles = open_samples(self.backdoored(bench).view).roles
        assert roles.count("negative") == 2 * roles.count("poison") == 8

    def test_both_triggers_share_one_field(self, bench):
        secret = open_secret(self.backdoored(bench).secret)
        assert torch.equal(secret.trigger.field, secret.negative.field)
        assert secret.trigger.noise == 0 and secret.negative.noise == 0.5


def interpolated(picture, field):
    """Each pixel read at its place plus the field, from the four pixels around, kept within the picture."""
    height, width = picture.shape
    found = torch.zeros(height, width)
    for row in range(height):
        for column in range(width):
            right = min(max(column + float(field[row, column, 0]), 0.0), width - 1.0)
            down = min(max(row + float(field[row, column, 1]), 0.0), height - 1.0)
            for y, x in ((r, c) for r in range(height) for c in range(width)):
                share = max(0.0, 1 - abs(down - y)) * max(0.0, 1 - abs(right - x))
                found[row, column] += share * picture[y, x]
    return found


def test_a_warp_is_bilinear_interpolation():
    x = torch.rand(1, 2, 6, 5, generator=torch.Generator().manual_seed(0))
    field = 2 * torch.randn(6, 5, 2, generator=torch.Generator().manual_seed(1))
    warped = Warp(field, 0.0).apply(x, "test")
    for channel in range(2):
        assert torch.allclose(warped[0, channel], interpolated(x[0, channel], field), atol=1e-5)


def test_the_field_passes_through_its_knots():
    field = smooth_field(4, 0.5, 28, 28, seed=3)
    knots = field[::9, ::9]  # with aligned corners every ninth of 28 pixels is a knot of four
    assert math.isclose(float(knots.abs().mean()), 0.25, rel_tol=1e-4)
    steps = (field[1:] - field[:-1]).abs().max()
    assert float(steps) < 0.25, "the field is not smooth"


def test_noise_differs_from_sample_to_sample_within_its_bound():
    ramp = torch.arange(9.0).repeat(9, 1)[None, None].repeat(3, 1, 1, 1) / 8
    still = torch.zeros(9, 9, 2)
    noisy = Warp(still, 0.5).apply(ramp, "train", torch.Generator().manual_seed(0))
    assert float((noisy - ramp).abs().max()) <= 0.5 / 8 + 1e-6
    assert not torch.equal(noisy[0], noisy[1])


def test_batches_are_drawn_anew_at_the_rates():
    params, rule = WaNetParams(poison_rate=0.1), LabelRule(kind="all-to-one", classes=4, target=0)
    field, labels = smooth_field(4, 2.0, 8, 8, 0), torch.arange(64) % 4
    x = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    counts, patterns = [], set()
    for step in range(50):
        made = warp_some(
            params, rule, Warp(field, 0.0), Warp(field, 0.5), Batch(x, labels, torch.arange(64)), Draw(0, step, 64)
        )
        poison = made.labels != labels
        assert bool((labels[poison] != 0).all()) and bool((made.labels[poison] == 0).all())
        changed = (made.inputs != x).flatten(1).any(1)
        counts.append((int(poison.sum()), int((changed & ~poison).sum())))
        patterns.add(tuple(poison.nonzero().flatten().tolist()))
    poisons, negatives = (sum(column) / 50 for column in zip(*counts, strict=True))
    assert abs(poisons - 6.4) < 0.3 and abs(negatives - 12.8) < 0.3 and len(patterns) > 45
