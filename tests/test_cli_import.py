"""``bdm import``: foreign weights become safetensors, hostile files are refused, nothing half-done stays."""

import json
import os
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from cli_process import Done, bdm, error_line, install_toys
from fake_site import FakeSite
from safetensors.torch import load_file, save_file

from bdm_cli.archive import extract
from bdm_cli.checkpoint import read_weights
from bdm_cli.import_ import Source, convert
from bdm_cli.import_folder import safe_name
from bdm_core.artifacts import Model
from bdm_core.errors import UserError

NO_KIT = "task-of-no-kit"
"""These weights are no real network: nobody is to open them."""
WEIGHTS = {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "conv.bias": torch.tensor([0.5, -0.5])}


def pipeline(folder: Path, weights: dict[str, torch.Tensor] = WEIGHTS, *, pickled: bool = True) -> Path:
    """A diffusers folder with one component, its weights pickled or not."""
    unet = folder / "unet"
    unet.mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "DDPMPipeline"}')
    (unet / "config.json").write_text('{"sample_size": 8}')
    if pickled:
        torch.save(weights, unet / "diffusion_pytorch_model.bin")
    else:
        save_file(weights, unet / "diffusion_pytorch_model.safetensors")
    return folder


def assert_weights(folder: Path) -> None:
    found = load_file(folder / "unet/diffusion_pytorch_model.safetensors")
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


def do_import(site: FakeSite, *arguments: object) -> Done:
    return bdm(site, "import", *arguments, "--task", NO_KIT)


def assert_nothing_left(tmp_path: Path) -> None:
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".bdm-import-*"))


def test_a_folder_with_pickled_weights_becomes_safetensors_and_json(fake_site: FakeSite, tmp_path: Path) -> None:
    source = pipeline(tmp_path / "foreign")
    (source / "unet/optimizer.py").write_text("print('never copied')")
    (source / "scheduler").mkdir()
    torch.save({"step": torch.tensor(3)}, source / "scheduler/state.bin")  # no weights of a component: left out
    result = do_import(fake_site, source, "--out", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["files"] == [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    assert_weights(tmp_path / "out")
    assert Model.open(tmp_path / "out").format == "diffusers"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {f"module.{name}": value for name, value in weights.items()},
        lambda weights: {"step": 7, "state_dict": weights},
        lambda weights: [weights, {"optimiser": 1}],
        lambda weights: {"model": {name: value * 0 for name, value in weights.items()}, "ema": weights},
    ],
    ids=["plain", "prefix", "wrapped", "list", "averaged"],
)
def test_a_state_dict_takes_the_place_of_the_component_it_fits(tmp_path: Path, wrap) -> None:
    zeros = {name: torch.zeros_like(value) for name, value in WEIGHTS.items()}
    like = pipeline(tmp_path / "like", zeros, pickled=False)
    torch.save(wrap(WEIGHTS), tmp_path / "weights.ckpt")
    convert(Source(tmp_path / "weights.ckpt", like), tmp_path / "out", task=NO_KIT)
    assert_weights(tmp_path / "out")


def test_weights_that_do_not_fit_are_refused(fake_site: FakeSite, tmp_path: Path) -> None:
    like = pipeline(tmp_path / "like", pickled=False)
    torch.save({**WEIGHTS, "conv.bias": torch.zeros(5)}, tmp_path / "weights.pt")
    message = error_line(do_import(fake_site, tmp_path / "weights.pt", "--like", like, "--out", tmp_path / "out"))
    assert "conv.bias has shape [5], expected [2]" in message
    torch.save({"other": torch.zeros(5)}, tmp_path / "other.pt")
    message = error_line(do_import(fake_site, tmp_path / "other.pt", "--like", like, "--out", tmp_path / "out"))
    assert "2 of 2 tensors are missing" in message
    assert_nothing_left(tmp_path)


def test_a_bare_state_dict_asks_for_its_architecture(fake_site: FakeSite, tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "weights.pt")
    assert "--like" in error_line(do_import(fake_site, tmp_path / "weights.pt", "--out", tmp_path / "out"))


class Hostile:
    """Pickles to a call that would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_needs_code_is_refused_and_not_run(fake_site: FakeSite, tmp_path: Path) -> None:
    like = pipeline(tmp_path / "like", pickled=False)
    with (tmp_path / "old.pt").open("wb") as stream:
        pickle.dump(Hostile(tmp_path / "ran"), stream)
    torch.save({"w": Hostile(tmp_path / "ran")}, tmp_path / "new.pt")
    for name in ("old.pt", "new.pt"):
        message = error_line(do_import(fake_site, tmp_path / name, "--like", like, "--out", tmp_path / "out"))
        assert "needs code" in message and "refused" in message
    assert not (tmp_path / "ran").exists()
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_one_line(fake_site: FakeSite, tmp_path: Path, content: bytes) -> None:
    like = pipeline(tmp_path / "like", pickled=False)
    (tmp_path / "weights.pt").write_bytes(content)
    error_line(do_import(fake_site, tmp_path / "weights.pt", "--like", like, "--out", tmp_path / "out"))
    assert_nothing_left(tmp_path)


def test_a_folder_that_is_no_model_is_refused(fake_site: FakeSite, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = error_line(do_import(fake_site, tmp_path / "empty", "--out", tmp_path / "out"))
    assert "model_index.json" in message


def test_an_existing_folder_is_not_touched(fake_site: FakeSite, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    source = pipeline(tmp_path / "foreign")
    assert "exists already" in error_line(do_import(fake_site, source, "--out", tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_archive_of_a_folder_is_imported(tmp_path: Path) -> None:
    source = pipeline(tmp_path / "foreign")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(source, "some/folder")
    convert(Source(tmp_path / "model.tar.gz"), tmp_path / "out", task=NO_KIT)
    assert_weights(tmp_path / "out")


def hostile_archives(folder: Path) -> dict[str, Path]:
    """Archives that try to leave the folder, each in one way."""
    inside = folder / "inside.txt"
    inside.write_text("text")
    made = {}
    for number, name in enumerate(("../outside.txt", "/absolute.txt", "a/../../outside.txt", "C:/outside.txt")):
        path = folder / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "text")
        made[name] = path
    tars = {
        "link": (tarfile.SYMTYPE, "/etc"),
        "hard": (tarfile.LNKTYPE, "/etc/hostname"),
        "fifo": (tarfile.FIFOTYPE, ""),
    }
    for name, (kind, target) in tars.items():
        path = folder / f"{name}.tar"
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo("member")
            info.type, info.linkname = kind, target
            archive.addfile(info)
        made[name] = path
    return made


def test_archives_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    for name, archive in hostile_archives(tmp_path).items():
        target = tmp_path / "target"
        target.mkdir()
        with pytest.raises(UserError, match="refused"):
            extract(archive, target)
        assert not list(target.rglob("*")), name
        target.rmdir()
    assert not (tmp_path.parent / "outside.txt").exists()


def test_an_archive_may_not_unpack_to_more_than_the_limit(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(5 * 2**20))
    assert (tmp_path / "bomb.zip").stat().st_size < 20_000
    (tmp_path / "target").mkdir()
    with pytest.raises(UserError, match=r"unpacks to .* GiB, more than .* GiB: refused"):
        extract(tmp_path / "bomb.zip", tmp_path / "target", max_bytes=2**20)
    assert sum(path.stat().st_size for path in (tmp_path / "target").rglob("*")) <= 2**20
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(4):
            archive.writestr(str(number), b"")
    with pytest.raises(UserError, match="more than 3 files"):
        extract(tmp_path / "many.zip", tmp_path / "target", max_files=3)


def test_the_task_is_the_one_that_a_kit_sees_in_the_result(fake_site: FakeSite, tmp_path: Path) -> None:
    install_toys(fake_site)
    source = pipeline(tmp_path / "foreign", pickled=False)
    (source / "content.txt").write_text("honest")
    command = ("import", source, "--out", tmp_path / "out")
    message = error_line(bdm(fake_site, *command, BDM_PLUGINS="bdm-none"))
    assert "name it, --task" in message
    assert bdm(fake_site, *command, BDM_PLUGINS="bdm-toys").returncode == 0
    assert Model.open(tmp_path / "out").task == "toy-task"


def test_places_that_cannot_be_written_are_one_line(fake_site: FakeSite, tmp_path: Path) -> None:
    source = pipeline(tmp_path / "foreign")
    (tmp_path / "file").write_text("in the way")
    assert "cannot write below" in error_line(do_import(fake_site, source, "--out", tmp_path / "file/model"))


def test_names_of_weights() -> None:
    assert safe_name("diffusion_pytorch_model.bin") == "diffusion_pytorch_model.safetensors"
    assert safe_name("diffusion_pytorch_model.fp16.bin") == "diffusion_pytorch_model.fp16.safetensors"
    assert safe_name("pytorch_model.bin") == "model.safetensors"
    assert safe_name("pytorch_model-00001-of-00002.bin") == "model-00001-of-00002.safetensors"
    assert safe_name("pytorch_model.bin.index.json") == "model.safetensors.index.json"


def test_weights_in_several_files_keep_their_index(tmp_path: Path) -> None:
    source = pipeline(tmp_path / "foreign")
    (source / "unet/diffusion_pytorch_model.bin").unlink()
    names = [f"diffusion_pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    for name, key in zip(names, WEIGHTS, strict=True):
        torch.save({key: WEIGHTS[key]}, source / "unet" / name)
    index = {"metadata": {}, "weight_map": dict(zip(WEIGHTS, names, strict=True))}
    (source / "unet/diffusion_pytorch_model.bin.index.json").write_text(json.dumps(index))
    convert(Source(source), tmp_path / "out", task=NO_KIT)
    written = json.loads((tmp_path / "out/unet/diffusion_pytorch_model.safetensors.index.json").read_text())
    for key, name in written["weight_map"].items():
        assert torch.equal(load_file(tmp_path / "out/unet" / name)[key], WEIGHTS[key])


def test_a_pickle_that_is_no_state_dict_is_refused_without_other_remarks(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"a": print}, protocol=4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match="is refused"):
            read_weights(path)


def test_tensors_without_plain_values_are_refused(fake_site: FakeSite, tmp_path: Path) -> None:
    like = pipeline(tmp_path / "like", pickled=False)
    cycle: dict[str, object] = {}
    cycle["state_dict"] = cycle
    odd = {
        "sparse": {name: value.to_sparse() for name, value in WEIGHTS.items()},
        "meta": {name: value.to("meta") for name, value in WEIGHTS.items()},
        "quantised": {name: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8) for name, value in WEIGHTS.items()},
        "no tensors": cycle,
    }
    for expected, content in odd.items():
        torch.save(content, tmp_path / "odd.bin")
        message = error_line(do_import(fake_site, tmp_path / "odd.bin", "--like", like, "--out", tmp_path / "out"))
        assert expected in message
    assert_nothing_left(tmp_path)


def test_damaged_archives_and_links_in_circles_are_one_line(fake_site: FakeSite, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.bin", bytes(range(200)) * 300)
    content = bytearray((tmp_path / "z.zip").read_bytes())
    content[60:90] = b"\xff" * 30
    (tmp_path / "z.zip").write_bytes(content)
    with tarfile.open(tmp_path / "long.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("a" * 300))
    pipeline(tmp_path / "loop", pickled=False).joinpath("link").symlink_to("link")
    for name in ("z.zip", "long.tar", "loop"):
        message = error_line(do_import(fake_site, tmp_path / name, "--out", tmp_path / "out"))
        assert name in message
    assert_nothing_left(tmp_path)
