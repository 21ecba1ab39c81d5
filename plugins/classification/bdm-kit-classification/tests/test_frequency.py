"""The cosine transform against SciPy's, and waves against raised coefficients of every block."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn

from bdm_kit_classification.triggers.frequency import cosines, low_pass, waves, yuv_to_rgb


@pytest.mark.parametrize("size", [5, 8, 32])
def test_the_transform_is_scipys(size):
    x = torch.rand(size, size, generator=torch.Generator().manual_seed(0))
    ours = cosines(size) @ x @ cosines(size).T
    assert np.allclose(ours.numpy(), dctn(x.numpy(), norm="ortho"), atol=1e-4)


def test_low_pass_keeps_the_low_coefficients_and_no_others():
    x = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    before, after = (dctn(y.numpy(), axes=(2, 3), norm="ortho") for y in (x, low_pass(x, 4)))
    assert np.allclose(before[:, :, :4, :4], after[:, :, :4, :4], atol=1e-5)
    after[:, :, :4, :4] = 0
    assert abs(after).max() < 1e-5


def test_a_wave_is_what_raising_coefficients_of_blocks_adds():
    x = np.random.default_rng(0).random((16, 16))
    expected = x.copy()
    for row in (0, 8):
        for column in (0, 8):
            block = dctn(x[row : row + 8, column : column + 8], norm="ortho")
            block[3, 3] += 0.5 * 8 / 32
            block[7, 7] += 0.5 * 8 / 32
            expected[row : row + 8, column : column + 8] = idctn(block, norm="ortho")
    wave = waves((1, 16, 16), [(0.5, 0.5), (1.0, 1.0)], window=8, magnitude=0.5)
    assert np.allclose(x + wave[0].numpy(), expected, atol=1e-5)


def test_colour_gets_it_in_chroma_alone():
    wave = waves((3, 32, 32), [(0.5, 1.0)], window=0, magnitude=0.3)
    red, green, blue = wave.double()
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert float(luma.abs().max()) < 1e-6
    for chroma in (0.492 * (blue - luma), 0.877 * (red - luma)):
        found = dctn(chroma.numpy(), norm="ortho")
        assert found[15, 31] == pytest.approx(0.3, abs=1e-5)
        found[15, 31] = 0
        assert abs(found).max() < 1e-5
    assert torch.allclose(yuv_to_rgb() @ torch.tensor([0.4, 0.0, 0.0]), torch.full((3,), 0.4))
