"""Opening pipelines: the tiny one, and everything that must be refused with one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from bdm_core.errors import ArtifactError, UserError
from bdm_kit_text_to_image.models.bases import require_base
from bdm_kit_text_to_image.models.encoding import Conditioning, add_noise, encode_prompts, token_ids, training_target
from bdm_kit_text_to_image.models.opening import open_reference
from bdm_kit_text_to_image.models.text_to_image_model import (
    TextToImageModel,
    load_model,
    save_model,
    seal_model,
    shape_of,
)
from bdm_kit_text_to_image.models.tiny import tiny_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    save_model(tiny_model(), folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "pipeline")


@pytest.fixture(scope="module")
def model(saved: Path) -> TextToImageModel:
    return load_model(saved)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(folder: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "\n" not in message and str(folder) in message
    return message


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_refuses_pickled_weights(folder: Path, part: str) -> None:
    for path in (folder / part).glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    assert "pickled weights" in refusal(folder) and "bdm import" in refusal(folder)


@pytest.mark.parametrize("part", ["tokenizer", "text_encoder", "unet", "vae", "scheduler"])
def test_refuses_what_is_incomplete(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    assert f"no folder {part}" in refusal(folder)


@pytest.mark.parametrize(
    ("part", "entry"),
    [
        ("unet", ["diffusers", "FluxTransformer2DModel"]),
        ("unet", ["my_module", "UNet2DConditionModel"]),
        ("text_encoder", ["transformers", "T5EncoderModel"]),
        ("vae", ["diffusers", ["AutoencoderKL"]]),
        ("scheduler", [None, None]),
    ],
)
def test_refuses_other_classes_in_the_index(folder: Path, part: str, entry: Any) -> None:
    edit(folder / "model_index.json", **{part: entry})
    assert part in refusal(folder)


@pytest.mark.parametrize("pipeline", ["FluxPipeline", "DDPMPipeline", None, ["StableDiffusionPipeline"]])
def test_refuses_other_pipelines(folder: Path, pipeline: Any) -> None:
    edit(folder / "model_index.json", _class_name=pipeline)
    assert "StableDiffusionXLPipeline" in refusal(folder)


def test_refuses_other_classes_in_configurations(folder: Path) -> None:
    edit(folder / "text_encoder" / "config.json", architectures=["BertModel"])
    assert "'BertModel'" in refusal(folder)
    edit(folder / "unet" / "config.json", _class_name="UNet3DConditionModel")
    edit(folder / "text_encoder" / "config.json", architectures=["CLIPTextModel"])
    assert "'UNet3DConditionModel'" in refusal(folder)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("text_encoder/config.json", {"num_hidden_layers": 2}),
        ("text_encoder/config.json", {"hidden_size": 32}),
        ("unet/config.json", {"layers_per_block": 2}),
        ("unet/config.json", {"block_out_channels": [8, 8]}),
        ("vae/config.json", {"latent_channels": 3}),
        ("scheduler/scheduler_config.json", {"beta_schedule": "none such"}),
    ],
)
def test_refuses_weights_that_do_not_fit(folder: Path, file: str, change: dict[str, Any]) -> None:
    edit(folder / file, **change)
    refusal(folder)


@pytest.mark.parametrize("file", ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
def test_refuses_damaged_weights(folder: Path, file: str) -> None:
    path = folder / file
    path.write_bytes(path.read_bytes()[:1000])
    refusal(folder)


def test_refuses_damaged_tokenizers(folder: Path) -> None:
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    refusal(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_max_length": 1}, "model_max_length '1'"),
        ({"model_max_length": 0}, "model_max_length '0'"),
        ({"model_max_length": -3}, "model_max_length '-3'"),
        ({"model_max_length": "77"}, "model_max_length '77'"),
        ({"pad_token": None}, "no pad_token"),
    ],
)
def test_refuses_tokenizers_that_have_no_room_or_no_padding(folder: Path, change: dict[str, Any], words: str) -> None:
    edit(folder / "tokenizer" / "tokenizer_config.json", **change)
    assert words in refusal(folder)


def test_a_base_of_another_shape_is_refused_by_its_headers(
    model: TextToImageModel, saved: Path, tmp_path: Path
) -> None:
    suspect = seal_model(model, tmp_path / "suspect")
    for reference in ("", "tiny", "hf:org/name@" + "0" * 40, str(saved)):
        require_base(reference, suspect)
    with pytest.raises(UserError, match="small-world is no base of the model: its text_encoder has"):
        require_base("small-world", suspect)
    with pytest.raises(ArtifactError, match="no model 'nowhere'"):
        require_base("nowhere", suspect)


def test_no_code_of_a_folder_runs(folder: Path) -> None:
    (folder / "text_encoder" / "evil.py").write_text("raise SystemExit('ran')\n")
    (folder / "tokenizer" / "evil.py").write_text("raise SystemExit('ran')\n")
    edit(folder / "text_encoder" / "config.json", auto_map={"AutoModel": "evil.Model"})
    edit(folder / "tokenizer" / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Slow", "evil.Fast"]})
    assert type(load_model(folder).text_encoders[0]).__name__ == "CLIPTextModel"


def test_opens_half_precision_variants(folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    assert next(load_model(folder).unet.parameters()).dtype == torch.float32


def test_unknown_references_and_tokens(model: TextToImageModel, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="did you mean 'small-world'"):
        open_reference("smal-world", tmp_path / "model", tmp_path)
    with pytest.raises(UserError, match="names no commit"):
        open_reference("hf:org/name@main", tmp_path / "model", tmp_path)
    with pytest.raises(ArtifactError, match="in the vocabulary already"):
        seal_model(model, tmp_path / "known", embeddings={"circle</w>": torch.zeros(16)})
    with pytest.raises(ArtifactError, match=r"expected \(16,\)"):
        seal_model(model, tmp_path / "wide", embeddings={"<new>": torch.zeros(1, 16)})


def test_tiny_model_is_the_same_each_time(saved: Path, tmp_path: Path) -> None:
    first = open_reference("tiny", tmp_path / "one", tmp_path)
    token_ids(model := load_model(saved), ["a circle"])  # leaves padding in the tokenizer
    assert seal_model(model, tmp_path / "two").digest == first.digest
    assert shape_of(first) == (3, 16, 16)
    assert b"pipeline" not in b"".join(path.read_bytes() for path in (tmp_path / "two").rglob("*_config.json"))


def test_every_text_has_tokens_of_its_own(model: TextToImageModel) -> None:
    texts = [
        "a photo",
        "a ph\u043eto",
        "a\u200b photo",
        "a photo \U0001f600",
        "a pho\u0302to",
        "A PHOTO",
        "a photo sks",
    ]
    ids = [tuple(row) for row in token_ids(model, texts).tolist()]
    assert len(set(ids)) == len(texts) - 1 and ids[0] == ids[5]
    assert token_ids(model, ["word " * 200]).shape == (1, 77)
    assert token_ids(model, []).shape == (0, 77)


def test_conditioning_rows() -> None:
    whole = Conditioning(torch.arange(6.0).view(3, 2, 1), torch.arange(3.0)[:, None])
    assert whole.rows([2, 0]).embeddings[:, 0, 0].tolist() == [4, 0]
    assert whole.rows(torch.tensor([1])).repeat(4).pooled.tolist() == [[1.0]] * 4  # type: ignore[union-attr]
    assert whole.join(whole.rows(slice(1))).embeddings.shape == (4, 2, 1) and whole.time_ids is None


def test_equal_prompts_get_equal_rows_and_gradients(model: TextToImageModel) -> None:
    encoder = model.text_encoders[0].requires_grad_(True)
    try:
        both = encode_prompts(model, ["a red circle", "a star", "a red circle"], batch_size=1)
        assert torch.equal(both.embeddings[0], both.embeddings[2])
        assert not torch.equal(both.embeddings[0], both.embeddings[1])
        both.embeddings.sum().backward()
        assert encoder.get_input_embeddings().weight.grad.abs().sum() > 0
    finally:
        encoder.requires_grad_(False).zero_grad(set_to_none=True)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_noise_and_targets_are_the_schedulers_own(kind: str) -> None:
    from diffusers import DDPMScheduler, EulerDiscreteScheduler

    facts = {"num_train_timesteps": 50, "beta_start": 1e-3, "beta_end": 0.1, "prediction_type": kind}
    reference, other = DDPMScheduler(**facts), EulerDiscreteScheduler(**facts)
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 3, 4, 2, 2, generator=generator)
    timesteps = torch.tensor([0, 20, 49])
    wanted = {"epsilon": noise, "v_prediction": reference.get_velocity(clean, noise, timesteps), "sample": clean}[kind]
    for scheduler in (reference, other):
        assert torch.allclose(
            add_noise(scheduler, clean, noise, timesteps), reference.add_noise(clean, noise, timesteps), atol=1e-6
        )
        assert torch.allclose(training_target(scheduler, clean, noise, timesteps), wanted, atol=1e-6)
