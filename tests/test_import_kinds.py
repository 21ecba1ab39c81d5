"""``bdm import`` of what people have: folders of classifiers, and pickles and archives that stand for too much."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bdm_cli.archive import extract
from bdm_cli.checkpoint import read_weights
from bdm_cli.import_ import Source, convert
from bdm_core.errors import UserError
from bdm_kit_classification.built_in import BUILTIN


def pickled(folder: Path) -> Path:
    """A classifier as trainers leave it: pickled weights, and pickled states that need code beside them."""
    folder.mkdir()
    shutil.copyfile(BUILTIN / "tiny" / "config.json", folder / "config.json")
    torch.save(load_file(BUILTIN / "tiny" / "model.safetensors"), folder / "pytorch_model.bin")
    torch.save(Path("x"), folder / "training_args.bin")
    torch.save({"state": {}}, folder / "optimizer.pt")
    return folder


def test_a_classifiers_folder_is_converted(tmp_path: Path) -> None:
    model, opened = convert(Source(pickled(tmp_path / "given")), tmp_path / "model", task=None)
    assert (opened, model.task, sorted(model.files)) == (
        True,
        "image-classification",
        ["config.json", "model.safetensors"],
    )


def test_a_classifiers_archive_is_converted(tmp_path: Path) -> None:
    given = pickled(tmp_path / "given")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in given.iterdir():
            archive.write(path, f"inside/{path.name}")
            archive.writestr(f"__MACOSX/inside/._{path.name}", b"\x00\x05\x16\x07")
    assert convert(Source(tmp_path / "a.zip"), tmp_path / "model", task=None)[0].task == "image-classification"


def test_a_folder_that_no_kit_knows_is_named(tmp_path: Path) -> None:
    folder = pickled(tmp_path / "given")
    (folder / "config.json").write_text(json.dumps({"architectures": ["XForCausalLM"]}))
    with pytest.raises(UserError, match=r"no installed kit knows it \(a model of another kind \(XForCausalLM\)"):
        convert(Source(folder), tmp_path / "model", task=None)


def test_a_pickle_that_repeats_its_values_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "one.bin")
    with pytest.raises(UserError, match="'w' of 4000000000000: it repeats its values"):
        read_weights(tmp_path / "one.bin")
    shared = torch.zeros(10**5)
    torch.save({str(number): shared for number in range(1000)}, tmp_path / "many.bin")
    with pytest.raises(UserError, match="it repeats its values"):
        read_weights(tmp_path / "many.bin")
    torch.save({"ids": torch.arange(77).expand(1, -1), "tied": shared, "again": shared}, tmp_path / "usual.bin")
    assert len(read_weights(tmp_path / "usual.bin")) == 3


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "sparse"])
def test_an_archive_that_says_it_is_too_large_writes_nothing(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    path = tmp_path / ("a.tar" if kind == "sparse" else f"a.{kind}")
    size = 2**40
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.bin", b"x")
        content = path.read_bytes()
        place = content.rindex(b"PK\x01\x02") + 24  # of the size in the central directory: 4 bytes
        path.write_bytes(content[:place] + (2**32 - 2).to_bytes(4, "little") + content[place + 4 :])
    elif kind == "tar.gz":
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo("a.bin")
            info.size = size
            archive.fileobj.write(info.tobuf(tarfile.GNU_FORMAT))  # type: ignore[union-attr]
    else:
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            info = tarfile.TarInfo("a.bin")
            info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(size), "GNU.sparse.numblocks": "1"}
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(UserError, match=r"unpacks to .* GiB, more than"):
        extract(path, target)
    assert not list(target.iterdir())
