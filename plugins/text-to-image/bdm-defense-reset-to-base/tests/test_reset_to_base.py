"""Conformance of ``defense:reset-to-base``, and which weights it moves how far."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bdm_core.context import Context
from bdm_core.testing import DefenseConformance
from bdm_defense_reset_to_base.params import ResetToBaseParams
from bdm_defense_reset_to_base.repair import pairs, repair
from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model

IS_PROJECTION = ("attn2.to_k.weight", "attn2.to_v.weight")


class TestResetToBase(DefenseConformance):
    plugin = "reset-to-base"
    max_change = 1e-6


class TestResetOfAllParts(DefenseConformance):
    plugin = "reset-to-base"
    params = {"reference": "tiny", "parts": ["projections", "text-encoder", "unet", "added-tokens"], "strength": 0.5}
    max_change = 1e-6


@pytest.mark.parametrize("part", ["projections", "unet", "text-encoder"])
def test_the_named_parts_and_no_others_move(part: str, tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    edited, base = tiny_model(5), tiny_model()
    model = seal_model(edited, tmp_path / "model")
    params = ResetToBaseParams(reference="tiny", parts=[part], strength=0.25)
    found = load_model(repair(bdm_context(), params, model))
    for name, network in edited.networks.items():
        for key, before in network.state_dict().items():
            now, other = found.networks[name].state_dict()[key], base.networks[name].state_dict()[key]
            named = {
                "projections": name == "unet" and key.endswith(IS_PROJECTION),
                "unet": name == "unet",
                "text-encoder": name == "text_encoder",
            }[part]
            moves = named and before.is_floating_point()
            expected = before + 0.25 * (other - before) if moves else before
            torch.testing.assert_close(now, expected, msg=f"{name} {key}")


def test_a_base_of_the_same_weights_is_said(
    tmp_path: Path, bdm_context: Callable[..., Context], caplog: pytest.LogCaptureFixture
) -> None:
    repair(bdm_context(), ResetToBaseParams(reference="tiny"), seal_model(tiny_model(), tmp_path / "model"))
    assert "reset-to-base changes nothing" in caplog.text


def test_added_tokens_get_the_row_of_the_tokenizer_s_padding() -> None:
    edited, base = tiny_model(5), tiny_model()
    encoder = base.text_encoders[0]
    encoder.config.pad_token_id = 1  # as in released text encoders, whose tokenizers pad with another one
    known = encoder.get_input_embeddings().weight
    edited.text_encoders[0].resize_token_embeddings(len(known) + 2, mean_resizing=False)
    ((mine, other),) = pairs(edited, base, "added-tokens")
    assert len(mine) == 2 and base.tokenizers[0].pad_token_id != 1
    torch.testing.assert_close(other, known[base.tokenizers[0].pad_token_id].expand(2, -1))
