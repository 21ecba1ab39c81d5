"""BppAttack against error diffusion written out pixel by pixel, and Pillow's."""

import numpy as np
import pytest
import torch
from PIL import Image

from bdm_attack_bpp.attack import OtherResidual, Quantised, quantise_some
from bdm_attack_bpp.dithering import dithered, rounded
from bdm_attack_bpp.params import BPPParams
from bdm_attack_bpp.plugin import BPP
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.training.fitting import Batch
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_torch.draws import Draw


class TestBPP(ClassifierAttackConformance):
    plugin = "bpp"

    def test_poisoned_rows_have_three_levels(self, bench):
        found = open_samples(self.backdoored(bench).view)
        poison = [row for row, role in enumerate(found.roles) if role == "poison"]
        assert set(found.stored[poison].unique().tolist()) <= {0, 128, 255}

    def test_negatives_are_other_pictures_residuals(self, bench):
        secret = open_secret(self.backdoored(bench).secret)
        raw = open_samples(bench.data).raw()
        known = secret.trigger.apply(raw, "train") - raw
        for residual in secret.negative.residuals:
            assert (known - residual).abs().flatten(1).amax(1).min() < 1e-6


class TestWithoutDithering(ClassifierAttackConformance):
    plugin = "bpp"
    params = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1, "dither": False}


def pixel_by_pixel(picture, levels):
    """Floyd-Steinberg in plain loops."""
    work = picture.astype(np.float64).copy()
    height, width = work.shape
    for row in range(height):
        for column in range(width):
            old = work[row, column]
            new = np.floor(min(1.0, max(0.0, old)) * (levels - 1) + 0.5) / (levels - 1)
            work[row, column] = new
            for down, right, share in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
                if row + down < height and 0 <= column + right < width:
                    work[row + down, column + right] += (old - new) * share / 16
    return work


@pytest.mark.parametrize(("height", "width", "levels"), [(9, 7, 3), (5, 12, 8), (6, 6, 2), (1, 4, 2)])
def test_dithering_is_floyd_and_steinbergs(height, width, levels):
    x = torch.rand(3, 2, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = dithered(x, levels).numpy()
    for picture in range(3):
        for channel in range(2):
            expected = pixel_by_pixel(x[picture, channel].numpy(), levels)
            assert np.allclose(found[picture, channel], expected, atol=1e-9)


def test_dithering_keeps_the_mean_and_pillow_agrees():
    ramp = (torch.arange(64.0).repeat(64, 1) / 63)[None, None]
    ours = dithered(ramp, 2)[0, 0]
    pillow = np.asarray(Image.fromarray((ramp[0, 0].numpy() * 255).round().astype(np.uint8)).convert("1"))
    assert abs(float(ours.mean() - ramp.mean())) < 0.01
    for band in range(0, 64, 8):
        assert abs(float(ours[:, band : band + 8].mean()) - pillow[:, band : band + 8].mean()) < 0.03


def test_rounding_has_so_many_levels_and_eight_are_the_papers_strength():
    x = torch.linspace(0, 1, 256)
    assert len(rounded(x, 8).unique()) == 8
    paper = BPPParams(**BPP.presets["paper"])
    published = Quantised(paper.levels, paper.dither).apply(x.view(1, 1, 16, 16), "test")
    assert torch.equal(published.flatten(), rounded(x, 8)), "the published setting does not dither"
    assert paper.negative_rate == paper.poison_rate
    error = (rounded(x, 8) - x).square().mean()
    uniform = (1 / 7) ** 2 / 12  # the variance of a rounding error
    assert float(error) == pytest.approx(uniform, rel=0.03)


def test_a_residual_of_another_picture_is_added():
    residuals = torch.tensor([0.5, -0.5])[:, None, None, None].expand(2, 1, 3, 3)
    found = OtherResidual(residuals).apply(torch.full((30, 1, 3, 3), 0.6), "train", torch.Generator().manual_seed(0))
    assert {round(value, 3) for value in found.flatten().tolist()} == {1.0, 0.1}


def test_batches_are_drawn_anew():
    params, rule = BPPParams(poison_rate=0.25, negative_rate=0.25), LabelRule(kind="all-to-all", classes=4)
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels, trigger, patterns = torch.arange(16) % 4, Quantised(2, True), set()
    for step in range(6):
        batch = Batch(x, labels, torch.arange(16))
        made = quantise_some(params, rule, trigger, OtherResidual(torch.ones(1, 1, 8, 8)), batch, Draw(0, step, 16))
        poison = made.labels != labels
        assert int(poison.sum()) == 4 and torch.equal(made.labels[poison], (labels[poison] + 1) % 4)
        assert torch.equal(made.inputs[poison], trigger.apply(x[poison], "train"))
        assert int((made.inputs == 1).flatten(1).all(1).sum()) == 4
        patterns.add(tuple(poison.tolist()))
    assert len(patterns) > 1
