"""The offsets against NumPy on given predictions, and where they must vanish."""

from collections.abc import Callable

import numpy as np
import torch

from bdm_core.context import Context
from bdm_defense_scaling_offset.detection import offsets, statistics
from bdm_defense_scaling_offset.params import ScalingOffsetParams
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.recording.chain import ChainPart


def test_an_offset_is_the_relative_change_of_the_prediction() -> None:
    draw = np.random.default_rng(1)
    noise, scaled = draw.normal(size=(3, 2, 4, 4)), draw.normal(size=(2, 3, 2, 4, 4))
    part = ChainPart(
        0, slice(0, 3), torch.from_numpy(noise), torch.empty(0), None, tuple(map(torch.from_numpy, scaled))
    )
    expected = [[np.linalg.norm(s[row] - noise[row]) / np.linalg.norm(noise[row]) for s in scaled] for row in range(3)]
    np.testing.assert_allclose(offsets(part).numpy(), expected)


def test_the_scale_one_changes_nothing(tmp_path, bdm_context: Callable[..., Context]) -> None:
    model = seal_model(tiny_model(), tmp_path / "model")
    found = statistics(bdm_context(), ScalingOffsetParams(scales=[1.0, 2.0], steps=2), model)
    values = found.measure(["a star", "a ring"])
    assert values.shape == (2, 4) == (2, len(found.columns))
    assert float(values[:, [0, 2]].max()) < 1e-5 < float(values[:, [1, 3]].min())
