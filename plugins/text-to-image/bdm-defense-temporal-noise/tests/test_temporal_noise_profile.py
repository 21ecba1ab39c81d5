"""The profile against NumPy on given predictions."""

import numpy as np
import torch

from bdm_defense_temporal_noise.detection import profiles
from bdm_kit_text_to_image.recording.chain import ChainPart


def test_the_profile_is_the_root_mean_square_change() -> None:
    draw = np.random.default_rng(1)
    noise = draw.normal(size=(4, 5, 2, 3, 3))  # steps, prompts
    parts = [
        ChainPart(step, slice(first, last), torch.from_numpy(noise[step, first:last]), torch.empty(0), None)
        for first, last in ((0, 3), (3, 5))
        for step in range(4)
    ]
    expected = np.sqrt(((noise[1:] - noise[:-1]) ** 2).mean((2, 3, 4))).T
    np.testing.assert_allclose(profiles(parts).numpy(), expected)
