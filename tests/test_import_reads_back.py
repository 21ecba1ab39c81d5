"""``bdm import`` opens what it sealed by its task's kit before it says that it is done, and keeps nothing else."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from cli_process import Done, bdm, error_line
from fake_site import FakeSite
from safetensors.torch import load_file, save_file

from bdm_cli.import_ import Source, convert
from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.diffusion_model import load_model

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return shutil.copytree(
        BUILTIN / "digits-tiny", tmp_path / "foreign", ignore=shutil.ignore_patterns("manifest.json")
    )


def change(source: Path, **tensors: torch.Tensor | None) -> None:
    """Replace tensors by name (``__`` for a dot), or take them out."""
    found = load_file(source / WEIGHTS)
    for name, value in tensors.items():
        found.pop(name.replace("__", "."))
        if value is not None:
            found[name.replace("__", ".")] = value
    save_file(found, source / WEIGHTS, {"format": "pt"})


def rename(source: Path, prefix: str) -> None:
    save_file({prefix + name: value for name, value in load_file(source / WEIGHTS).items()}, source / WEIGHTS)


def do_import(site: FakeSite, source: Path, *more: object) -> Done:
    return bdm(site, "import", source, "--out", source.parent / "out", *more)


def assert_as_built_in(folder: Path) -> None:
    found, expected = (load_model(place).unet.state_dict() for place in (folder, BUILTIN / "digits-tiny"))
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod.", "ema_model."])
def test_what_wrappers_left_is_taken_off(fake_site: FakeSite, source: Path, prefix: str) -> None:
    rename(source, prefix)
    done = do_import(fake_site, source, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["opened"] is True
    assert_as_built_in(source.parent / "out")


def test_weights_in_several_files_lose_their_wrapper_too(fake_site: FakeSite, source: Path) -> None:
    tensors = {f"module.{name}": value for name, value in load_file(source / WEIGHTS).items()}
    (source / WEIGHTS).unlink()
    places = {}
    for number, names in enumerate((list(tensors)[::2], list(tensors)[1::2]), start=1):
        file = f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names}, source / "unet" / file, {"format": "pt"})
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (source / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    done = do_import(fake_site, source)
    assert done.returncode == 0, done.stderr
    assert_as_built_in(source.parent / "out")


@pytest.mark.parametrize("variant", ["fp16", "ema"])
def test_a_variant_takes_the_plain_name_where_there_is_no_other(
    fake_site: FakeSite, source: Path, variant: str
) -> None:
    (source / WEIGHTS).rename(source / f"unet/diffusion_pytorch_model.{variant}.safetensors")
    assert do_import(fake_site, source).returncode == 0
    assert sorted(path.name for path in (source.parent / "out/unet").iterdir()) == ["config.json", Path(WEIGHTS).name]
    assert_as_built_in(source.parent / "out")


def test_a_variant_beside_plain_weights_is_left_out(fake_site: FakeSite, source: Path) -> None:
    save_file({"w": torch.zeros(1)}, source / "unet/diffusion_pytorch_model.fp16.safetensors")
    assert do_import(fake_site, source).returncode == 0
    assert_as_built_in(source.parent / "out")
    assert not list((source.parent / "out").rglob("*fp16*"))


def configure(source: Path, file: str, **entries: object) -> None:
    path = source / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


BROKEN = {
    "nan": (lambda folder: change(folder, conv_in__bias=torch.full((8,), torch.nan)), "conv_in.bias"),
    "missing": (lambda folder: change(folder, conv_norm_out__weight=None), "conv_norm_out.weight"),
    "shape": (lambda folder: change(folder, conv_in__bias=torch.zeros(3)), "conv_in"),
    "cut off": (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9]), "cut off"),
    "no unet": (lambda folder: (folder / "unet").rename(folder / "unet_ema"), "unet"),
    "size": (lambda folder: configure(folder, "unet/config.json", sample_size=None), "sample_size"),
    "steps": (
        lambda folder: configure(folder, "scheduler/scheduler_config.json", num_train_timesteps=10**9),
        "timesteps",
    ),
    "no steps": (
        lambda folder: configure(folder, "scheduler/scheduler_config.json", num_train_timesteps=0),
        "timesteps",
    ),
    "beta": (lambda folder: configure(folder, "scheduler/scheduler_config.json", beta_end=float("nan")), "beta_end"),
    "betas": (lambda folder: configure(folder, "scheduler/scheduler_config.json", beta_end=3.0), "scheduler"),
    "prediction": (
        lambda folder: configure(folder, "scheduler/scheduler_config.json", prediction_type="flow"),
        "prediction_type",
    ),
    "class": (lambda folder: configure(folder, "model_index.json", unet=["os", "system"]), "unet"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_its_kit_cannot_open_is_not_kept(fake_site: FakeSite, source: Path, fault: str) -> None:
    spoil, complaint = BROKEN[fault]
    spoil(source)
    message = error_line(do_import(fake_site, source))
    assert "foreign" in message and complaint in message and ".bdm-import-" not in message
    assert not (source.parent / "out").exists() and not list(source.parent.glob(".bdm-import-*"))


def test_what_nobody_could_open_is_said_to_be_unchecked(fake_site: FakeSite, source: Path) -> None:
    done = do_import(fake_site, source, "--task", "task-of-no-kit")
    assert done.returncode == 0
    assert "no kit of the task task-of-no-kit is installed" in done.stderr
    assert Model.open(source.parent / "out").task == "task-of-no-kit"


def test_a_git_lfs_pointer_is_called_so(fake_site: FakeSite, source: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 172068\n"
    for name in ("w.pt", "w.bin", "w.safetensors"):
        (source.parent / name).write_text(pointer)
        message = error_line(do_import(fake_site, source.parent / name, "--like", source))
        assert "Git LFS pointer" in message
    (source / WEIGHTS).write_text(pointer)
    assert "Git LFS pointer" in error_line(do_import(fake_site, source))


def test_a_folder_of_another_kind_is_named(fake_site: FakeSite, tmp_path: Path) -> None:
    lora = tmp_path / "lora"
    lora.mkdir()
    save_file({"a.lora_A.weight": torch.zeros(1)}, lora / "pytorch_lora_weights.safetensors")
    assert "an adapter (LoRA)" in error_line(do_import(fake_site, lora))


NUMBERS = {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "conv.bias": torch.tensor([0.5, -0.5])}


def test_a_state_dict_of_a_classifier_takes_the_place_of_another_ones(tmp_path: Path) -> None:
    like = tmp_path / "like"
    like.mkdir()
    (like / "config.json").write_text('{"classes": ["a", "b"]}')
    save_file({name: torch.zeros_like(value) for name, value in NUMBERS.items()}, like / "model.safetensors")
    torch.save({"state_dict": {f"module.{name}": value for name, value in NUMBERS.items()}}, tmp_path / "weights.pt")
    found, _ = convert(Source(tmp_path / "weights.pt", like), tmp_path / "out", task="task-of-no-kit")
    assert (
        found.format == "classifier"
        and (tmp_path / "out/config.json").read_bytes() == (like / "config.json").read_bytes()
    )
    written = load_file(tmp_path / "out/model.safetensors")
    assert written.keys() == NUMBERS.keys() and all(torch.equal(written[name], NUMBERS[name]) for name in NUMBERS)
    torch.save({"conv.weight": NUMBERS["conv.weight"]}, tmp_path / "less.pt")
    with pytest.raises(UserError, match="1 of 2 tensors are missing"):
        convert(Source(tmp_path / "less.pt", like), tmp_path / "less", task="task-of-no-kit")
    assert not (tmp_path / "less").exists()
