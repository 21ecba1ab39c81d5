"""``bdm import`` of pipelines: single-file checkpoints in the original names, old attention names, what is refused."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bdm_cli.import_ import Source, convert
from bdm_core.errors import UserError
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}
BLOCK = 2
"""Entries of the original lists for a block with one resnet: the resnet, and what changes the size (or, upwards, the
second resnet)."""


def single_file(model: TextToImageModel) -> dict[str, Tensor]:
    """All tensors of a pipeline of two blocks with one layer each and one text encoder."""
    found = {f"model.diffusion_model.{unet_name(name)}": value for name, value in model.unet.state_dict().items()}
    for name, value in model.vae.state_dict().items():
        linear = "attentions" in name and value.ndim == 2
        found[f"first_stage_model.{vae_name(name)}"] = value[:, :, None, None] if linear else value
    for name, value in model.text_encoders[0].state_dict().items():
        found[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = value
    return {name: value.clone().contiguous() for name, value in found.items()}


def unet_name(name: str) -> str:
    """``down_blocks.0.resnets.0.norm1.weight`` -> ``input_blocks.1.0.in_layers.0.weight``."""
    first, *rest = name.split(".")
    if first in ENDS:
        return ".".join([ENDS[first], *rest])
    if first == "time_embedding":
        return f"time_embed.{'0' if rest[0] == 'linear_1' else '2'}.{rest[1]}"
    if first == "mid_block":
        kind, number, *rest = rest
        return _inside(f"middle_block.{1 if kind == 'attentions' else 2 * int(number)}", kind, rest)
    block, kind, number, *rest = rest
    start = int(block) * BLOCK
    if kind == "downsamplers":
        return f"input_blocks.{start + BLOCK}.0.op.{rest[-1]}"
    if kind == "upsamplers":  # behind the resnet of a block without attention
        return f"output_blocks.{start + 1}.1.conv.{rest[-1]}"
    place = (
        f"input_blocks.{start + 1 + int(number)}" if first == "down_blocks" else f"output_blocks.{start + int(number)}"
    )
    return _inside(f"{place}.{1 if kind == 'attentions' else 0}", kind, rest)


def _inside(place: str, kind: str, rest: list[str]) -> str:
    return ".".join([place, RESNET[rest[0]] if kind == "resnets" else rest[0], *rest[1:]])


def vae_name(name: str) -> str:
    """``decoder.up_blocks.0.resnets.0.norm1.weight`` -> ``decoder.up.1.block.0.norm1.weight``."""
    side, *rest = name.split(".")
    if rest[0] == "conv_norm_out":
        rest[0] = "norm_out"
    elif rest[0] == "mid_block" and rest[1] == "resnets":
        rest = ["mid", f"block_{int(rest[2]) + 1}", *rest[3:]]
    elif rest[0] == "mid_block":
        rest = ["mid", "attn_1", ATTENTION[rest[3]], rest[-1]]
    elif rest[0] in ("down_blocks", "up_blocks"):
        direction = rest[0].partition("_")[0]
        level = rest[1] if direction == "down" else str(1 - int(rest[1]))
        middle = ["block", rest[3]] if rest[2] == "resnets" else [f"{direction}sample"]
        rest = [direction, level, *middle, *rest[4:]]
    return ".".join([side, *("nin_shortcut" if part == "conv_shortcut" else part for part in rest)])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configurations of the tiny pipeline, with weights of another seed, which must not be read."""
    return seal_model(tiny_model(seed=1), tmp_path / "config").path


def assert_same_networks(folder: Path, seed: int) -> None:
    found, expected = load_model(folder).networks, tiny_model(seed).networks
    assert found.keys() == expected.keys()
    for part, network in expected.items():
        tensors = found[part].state_dict()
        assert tensors.keys() == network.state_dict().keys()
        assert all(torch.equal(tensors[name], value) for name, value in network.state_dict().items()), part


@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_a_single_file_becomes_the_pipeline_that_it_holds(tmp_path: Path, config: Path, ending: str) -> None:
    source = tmp_path / f"web.{ending}"
    tensors = single_file(tiny_model(seed=3))
    if ending == "ckpt":
        torch.save({"state_dict": tensors, "global_step": 3}, source)
    else:
        save_file(tensors, source)
    model, opened = convert(Source(source, config=config), tmp_path / "out", task=None)
    assert (model.task, opened) == ("text-to-image", True)
    assert_same_networks(tmp_path / "out", seed=3)
    assert not list((tmp_path).glob(".bdm-import-*"))


def test_without_configurations_the_line_says_what_to_give(tmp_path: Path) -> None:
    save_file(single_file(tiny_model()), tmp_path / "web.safetensors")
    with pytest.raises(UserError, match=r"web\.safetensors is a single-file checkpoint.*add --config FOLDER"):
        convert(Source(tmp_path / "web.safetensors"), tmp_path / "out", task=None)


@pytest.mark.parametrize(
    ("start", "complaint"),
    [
        ("first_stage_model.", "has no first stage"),
        ("cond_stage_model.", "has no text encoder"),
        ("model.diffusion_model.out.2", "missing"),
        ("first_stage_model.decoder.conv_in.weight", "missing"),
        ("cond_stage_model.transformer.text_model.final_layer_norm", "final_layer_norm"),
    ],
)
def test_what_a_single_file_lacks_is_named(tmp_path: Path, config: Path, start: str, complaint: str) -> None:
    tensors = {name: value for name, value in single_file(tiny_model()).items() if not name.startswith(start)}
    save_file(tensors, tmp_path / "web.safetensors")
    with pytest.raises(UserError) as caught:
        convert(Source(tmp_path / "web.safetensors", config=config), tmp_path / "out", task=None)
    message = str(caught.value)
    assert complaint in message and "web.safetensors" in message and "\n" not in message
    assert not (tmp_path / "out").exists()


def test_configurations_of_another_size_do_not_fit(tmp_path: Path, config: Path) -> None:
    tensors = single_file(tiny_model())
    tensors["model.diffusion_model.out.2.weight"] = torch.zeros(4, 12, 3, 3)
    save_file(tensors, tmp_path / "web.safetensors")
    with pytest.raises(UserError, match="cannot be opened as a StableDiffusionPipeline with the configurations in"):
        convert(Source(tmp_path / "web.safetensors", config=config), tmp_path / "out", task=None)


OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def test_the_attention_of_an_old_first_stage_opens_under_its_old_names(tmp_path: Path, config: Path) -> None:
    path = config / "vae/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    renamed = {}
    for name, value in tensors.items():
        for new, old in OLD.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        renamed[name] = value
    assert renamed.keys() != tensors.keys()
    save_file(renamed, path, {"format": "pt"})
    (config / "manifest.json").unlink()
    _, opened = convert(Source(config), tmp_path / "out", task=None)
    assert opened
    assert_same_networks(tmp_path / "out", seed=1)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["unet.a.lora_A.weight", "unet.a.lora_B.weight"], "a LoRA"),
        (["lora_unet_a.lora_down.weight"], "a LoRA"),
        (["emb_params"], "a token embedding"),
        (["<cat>"], "a token embedding"),
        (["control_model.input_blocks.0.0.weight"], "a ControlNet"),
    ],
)
def test_additions_are_named(tmp_path: Path, names: list[str], kind: str) -> None:
    save_file({name: torch.zeros(2, 2) for name in names}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=kind):
        convert(Source(tmp_path / "a.safetensors"), tmp_path / "out", task=None)


def test_embeddings_and_quantised_files_of_the_web_interfaces_are_named(tmp_path: Path) -> None:
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": torch.zeros(1, 4)}}, tmp_path / "e.pt")
    (tmp_path / "q.gguf").write_bytes(b"GGUF")
    for name, kind in {"e.pt": "a token embedding", "q.gguf": "GGUF"}.items():
        with pytest.raises(UserError, match=kind):
            convert(Source(tmp_path / name), tmp_path / "out", task=None)


def test_a_pipeline_whose_tokenizer_is_damaged_is_not_sealed(tmp_path: Path, config: Path) -> None:
    (config / "manifest.json").unlink()
    for number, (name, content) in enumerate({"tokenizer.json": "{", "tokenizer_config.json": "[1]"}.items()):
        copy = shutil.copytree(config, tmp_path / f"copy{number}")
        if (copy / "tokenizer" / name).exists():
            (copy / "tokenizer" / name).write_text(content)
            with pytest.raises(UserError, match="tokenizer"):
                convert(Source(copy), tmp_path / "out", task=None)
            assert not (tmp_path / "out").exists()
