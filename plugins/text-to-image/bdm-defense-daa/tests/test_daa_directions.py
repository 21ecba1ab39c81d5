"""What the parameters make of DAA's statistics."""

from collections.abc import Callable
from pathlib import Path

import torch

from bdm_core.context import Context
from bdm_defense_daa.detection import statistics
from bdm_defense_daa.params import DaaParams
from bdm_kit_text_to_image.detection.attention_dynamics import dynamics, individual_score, system_score
from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.recording.chain import ChainOptions

PROMPTS = ["a red star", "a ring", "two circles"]


def test_both_methods_and_all_directions(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    model = seal_model(tiny_model(), tmp_path / "model")
    opened = load_model(model)
    maps = dynamics(opened, PROMPTS, 0, ChainOptions(steps=20, until=6))
    expected = {
        "individual": torch.tensor([individual_score(part) for part in maps]),
        "system": torch.tensor([system_score(part[0], True) for part in maps]),
    }
    for method, values in expected.items():
        by_direction = {}
        for direction in ("paper", "reversed", "both"):
            params = DaaParams(method=method, suspicious=direction)
            found = statistics(bdm_context(seed=0), params, model)
            by_direction[direction] = found.fit(values[:, None])(found.measure(PROMPTS))
        torch.testing.assert_close(by_direction["paper"].float(), values.float(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(by_direction["reversed"], -by_direction["paper"])
        torch.testing.assert_close(
            by_direction["both"].float(), (values - values.median()).abs().float(), rtol=1e-2, atol=1e-3
        )
