"""Recorded attention maps against the published formula, at every level, for square and other latents."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from bdm_core.errors import UserError
from bdm_kit_text_to_image.attention.cross_attention import cross_attention_layers, record_attention


def network(**changes: object) -> UNet2DConditionModel:
    torch.manual_seed(0)
    facts = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "norm_num_groups": 4,
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 12,
        "attention_head_dim": 4,
    } | changes
    return UNet2DConditionModel(**facts).eval()


XL = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "transformer_layers_per_block": (1, 2),
    "projection_class_embeddings_input_dim": 6 * 4 + 10,
    "use_linear_projection": True,
}


def call(unet: UNet2DConditionModel, latents: Tensor, text: Tensor) -> Tensor:
    added = {"text_embeds": torch.ones(len(text), 10), "time_ids": torch.ones(len(text), 6)}
    return unet(latents, torch.tensor(3), text, added_cond_kwargs=added).sample


def inputs(rows: int = 2, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, 4, height, width, generator=generator), torch.randn(rows, 5, 12, generator=generator)


@pytest.mark.parametrize("changes", [{}, XL])
def test_maps_are_the_softmax_of_queries_and_keys(changes: dict[str, object]) -> None:
    unet = network(**changes)
    latents, text = inputs()
    seen: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda module, args, name=name: seen.__setitem__(name, args[0]))
        for name, layer in cross_attention_layers(unet).items()
    ]
    with torch.no_grad():
        plain = call(unet, latents, text)
        with record_attention(unet) as recorder:
            recorded = call(unet, latents, text)
    assert torch.equal(plain, recorded)
    assert len(recorder.steps) == 1 and list(recorder.steps[0]) == list(seen)
    for name, layer in cross_attention_layers(unet).items():
        expected = []
        for row in range(2):
            queries = (seen[name][row] @ layer.to_q.weight.T).chunk(layer.heads, dim=-1)
            keys = (text[row] @ layer.to_k.weight.T).chunk(layer.heads, dim=-1)
            heads = [(q @ k.T / q.shape[-1] ** 0.5).softmax(-1) for q, k in zip(queries, keys, strict=True)]
            expected.append(sum(heads) / layer.heads)
        maps = recorder.steps[0][name]
        torch.testing.assert_close(maps.flatten(2).transpose(1, 2), torch.stack(expected), rtol=1e-4, atol=1e-5)
    for hook in hooks:
        hook.remove()


def test_levels_steps_and_rows() -> None:
    unet = network()
    latents, text = inputs(4)
    with torch.no_grad(), record_attention(unet) as recorder:
        for _ in range(3):
            call(unet, latents, text)
    assert recorder.levels == [0, 1] and recorder.size == (8, 8)
    assert recorder.maps().shape == (3, 4, 5, 8, 8)
    coarse = recorder.maps(1, rows=slice(2, None))
    assert coarse.shape == (3, 2, 5, 4, 4)
    torch.testing.assert_close(coarse.sum(dim=2), torch.ones(3, 2, 4, 4))
    layers = [maps for maps in recorder.steps[1].values() if maps.shape[-1] == 4]
    torch.testing.assert_close(coarse[1], sum(layers)[2:] / len(layers))
    with pytest.raises(UserError, match=r"recorded are \[0, 1\]"):
        recorder.maps(2)


def test_only_the_levels_asked_for_are_kept_and_other_shapes_work() -> None:
    unet = network()
    latents, text = inputs(1, 8, 4)
    with torch.no_grad(), record_attention(unet, levels=[1]) as recorder:
        call(unet, latents, text)
    assert recorder.levels == [1] and recorder.maps(1).shape == (1, 1, 5, 4, 2)


def test_processors_are_restored_and_gradients_flow_on_request() -> None:
    unet = network()
    before = dict(unet.attn_processors)
    latents, text = inputs(1)
    text.requires_grad_(True)
    with pytest.raises(ZeroDivisionError), record_attention(unet) as recorder:
        call(unet, latents, text)
        assert not recorder.maps().requires_grad
        raise ZeroDivisionError
    with record_attention(unet, graph=True) as recorder:
        call(unet, latents, text)
    (gradient,) = torch.autograd.grad(recorder.maps()[..., 1, :, :].sum(), text)
    assert float(gradient.abs().sum()) > 0
    assert {name: id(processor) for name, processor in unet.attn_processors.items()} == {
        name: id(processor) for name, processor in before.items()
    }
