"""Opening and saving models: the shipped ones, foreign layouts, and everything that must be refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline

from bdm_core.artifacts import Model
from bdm_core.errors import ArtifactError
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.catalogue import DEFAULT_MODEL, TINY_MODEL
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, open_reference, save_model, seal_model
from bdm_kit_diffusion.models.pipeline_folder import shape_of
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_kit_diffusion.recipes.digits_ddpm import OPTIONS, untrained_model
from bdm_torch.training import train


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("manifest.json", "README.md")]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def public(scheduler: Any) -> dict[str, Any]:
    return {key: value for key, value in scheduler.config.items() if not key.startswith("_")}


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(untrained_model(TINY_MODEL), tmp_path / "pipeline")
    return tmp_path / "pipeline"


@pytest.mark.parametrize("name", [DEFAULT_MODEL, TINY_MODEL])
def test_shipped_model_is_what_the_recipe_describes(name: str, tmp_path: Path) -> None:
    shipped, fresh = load_model(BUILTIN / name), untrained_model(name)
    assert shipped.shape == (1, 8, 8)
    assert public(shipped.scheduler) == public(fresh.scheduler)
    assert {key: value.shape for key, value in shipped.unet.state_dict().items()} == {
        key: value.shape for key, value in fresh.unet.state_dict().items()
    }
    assert shipped.scheduler.alphas_cumprod[-1] < 1e-4, "x_T would not be pure noise"


def test_saving_again_gives_the_same_bytes(tmp_path: Path) -> None:
    save_model(load_model(BUILTIN / TINY_MODEL), tmp_path)
    assert digests(tmp_path) == digests(BUILTIN / TINY_MODEL)


def test_bytes_do_not_tell_where_a_model_came_from(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "villan-backdoored")
    one = open_reference(str(folder), tmp_path / "one", tmp_path)
    other = open_reference(str(tmp_path / "villan-backdoored"), tmp_path / "other", tmp_path)
    assert one.digest == other.digest
    assert not any("villan" in path.read_text() for path in (tmp_path / "other").rglob("*.json"))


def test_diffusers_opens_what_we_save(folder: Path) -> None:
    pipeline = DDPMPipeline.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    ours = load_model(folder)
    x, t = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 7])
    with torch.no_grad():
        assert torch.equal(pipeline.unet(x, t).sample, ours.unet(x, t).sample)
    assert public(pipeline.scheduler) == public(ours.scheduler)


def test_we_open_what_diffusers_saves(tmp_path: Path) -> None:
    model = untrained_model(TINY_MODEL)
    DDPMPipeline(model.unet, DDIMScheduler.from_config(model.scheduler.config)).save_pretrained(tmp_path)
    opened = load_model(tmp_path)
    assert type(opened.scheduler) is DDIMScheduler
    assert torch.equal(opened.unet.conv_in.weight, model.unet.conv_in.weight)


def test_old_layout_without_subfolders(folder: Path) -> None:
    for part in ("unet", "scheduler"):
        for path in (folder / part).iterdir():
            path.rename(folder / path.name)
        (folder / part).rmdir()
    assert load_model(folder).timesteps == 20


def test_sealed_model_states_shape_and_timesteps(tmp_path: Path) -> None:
    sealed = seal_model(untrained_model(TINY_MODEL), tmp_path)
    assert sealed.meta == {"shape": [1, 8, 8], "timesteps": 20}
    assert shape_of(sealed) == (1, 8, 8)
    assert shape_of(sealed.model_copy(update={"meta": {}})) == (1, 8, 8)


def test_only_configuration_and_weights_are_taken(folder: Path, tmp_path: Path) -> None:
    (folder / "setup.py").write_text("raise SystemExit('code of the model repository ran')")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04N.")
    sealed = open_reference(str(folder), tmp_path / "model", tmp_path)
    assert set(sealed.files) == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    }
    assert isinstance(Model.open(tmp_path / "model"), Model)


def refusal(folder: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folder_that_is_no_model(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} is no diffusers pipeline folder: model_index.json is missing"


def test_pickled_weights(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".bin"))
    assert f"bdm import {folder}" in refusal(folder)
    path.with_suffix(".bin").unlink()
    assert "has no diffusion_pytorch_model.safetensors" in refusal(folder)


def test_foreign_classes(folder: Path) -> None:
    index = folder / "model_index.json"
    for change, message in (
        ({"_class_name": "EvilPipeline"}, "names the pipeline 'EvilPipeline'; supported are DDPMPipeline"),
        ({"unet": ["evil", "UNet2DModel"]}, "names ['evil', 'UNet2DModel'] as unet: not an allowed diffusers class"),
        ({"unet": ["diffusers", ["UNet2DModel"]]}, "as unet: not an allowed diffusers class"),
        ({"scheduler": ["diffusers", "FluxPipeline"]}, "as scheduler: not an allowed diffusers class"),
    ):
        before = index.read_text()
        edit(index, **change)
        assert message in refusal(folder)
        index.write_text(before)
    edit(folder / "unet" / "config.json", _class_name="VQModel")
    assert "names the class 'VQModel'" in refusal(folder)


def test_damaged_files(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    assert "safetensors is cut off or damaged" in refusal(folder)
    weights.write_bytes(content)
    edit(folder / "unet" / "config.json", block_out_channels=[16, 16])
    assert "cannot be opened as a UNet2DModel" in refusal(folder)
    (folder / "unet" / "config.json").write_text("{")
    assert "config.json is no valid JSON" in refusal(folder)
    (folder / "model_index.json").write_text("[1]")
    assert "model_index.json is no JSON object" in refusal(folder)


def test_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no model 'digits-dpm': did you mean 'digits-ddpm'"):
        open_reference("digits-dpm", tmp_path / "model", tmp_path)


def test_hub_model_is_fetched_without_pickles(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.utils import logging as hub_log

    asked: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        asked.update(options)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    sealed = open_reference("hf:org/name@" + "b" * 40, tmp_path / "model", tmp_path)
    assert (asked["revision"], asked["repo_type"]) == ("b" * 40, "model")
    assert asked["allow_patterns"] == ["*.json", "*.safetensors"]
    assert sealed.meta["timesteps"] == 20

    before = hub_log.get_verbosity()

    def offline(repository: str, **options: Any) -> str:
        assert hub_log.get_verbosity() == hub_log.ERROR, "every attempt to connect would be printed"
        raise OSError("no network\nmore lines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ArtifactError, match=r"cannot fetch hf:org/name@b{40}: no network$"):
        open_reference("hf:org/name@" + "b" * 40, tmp_path / "other", tmp_path)
    assert hub_log.get_verbosity() == before


def test_model_knows_its_shape() -> None:
    model: DiffusionModel = untrained_model(TINY_MODEL)
    assert (model.shape, model.timesteps, model.pipeline) == ((1, 8, 8), 20, "DDPMPipeline")


def test_recipe_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    pictures, _ = load_digits()
    for name in ("one", "other"):
        model = untrained_model(TINY_MODEL)
        options = dataclasses.replace(OPTIONS[TINY_MODEL], steps=6, warmup_steps=2)
        train(model.unet, denoising_loss(pictures, model.scheduler), options, seed=0)
        save_model(model, tmp_path / name)
    assert digests(tmp_path / "one") == digests(tmp_path / "other")
    save_model(untrained_model(TINY_MODEL), tmp_path / "start")
    assert digests(tmp_path / "one") != digests(tmp_path / "start")
