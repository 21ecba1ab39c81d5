"""Odd headers, indices and names of weights are one line that names the folder and the entry."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bdm_core.errors import ArtifactError
from bdm_torch.foreign_models import find_weights
from bdm_torch.weights import read_header

STEM = "diffusion_pytorch_model"
FIRST, SECOND = (f"{STEM}-0000{number}-of-00002.safetensors" for number in (1, 2))


def header(path: Path, text: str) -> Path:
    content = text.encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + bytes(4))
    return path


def entry(**changed: Any) -> str:
    return json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changed}})


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        "1",
        "{",
        "[" * 100_000,
        '{"a": 1}',
        '{"a": {"dtype": "F32"}}',
        entry(shape=[float("inf")]),
        entry(shape=[float("nan")]),
        entry(shape=[-1, -1]),
        entry(shape=[2**62, 2**62]),
        entry(shape="x"),
        entry(shape=None),
        entry(data_offsets=[0]),
        entry(data_offsets=[4, 0]),
        entry(data_offsets=[0, 1e400]),
        entry(data_offsets=["0", "4"]),
    ],
    ids=lambda text: text[:60],
)
def test_odd_headers_are_damaged_files(tmp_path: Path, text: str) -> None:
    with pytest.raises(ArtifactError, match=r"w\.safetensors is (no safetensors file|cut off)"):
        read_header(header(tmp_path / "w.safetensors", text))


@pytest.mark.parametrize("length", [0, 7, 8])
def test_files_of_a_few_bytes_are_damaged(tmp_path: Path, length: int) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * length)
    with pytest.raises(ArtifactError, match="is no safetensors file"):
        read_header(tmp_path / "w.safetensors")


def sharded(folder: Path, **weight_map: Any) -> Path:
    """Two files with a and b, and an index; entries may be changed, None leaves one out."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({"a": torch.zeros(2)}, folder / FIRST)
    save_file({"b": torch.zeros(2)}, folder / SECOND)
    named = {"a": FIRST, "b": SECOND, **weight_map}
    index = {"weight_map": {name: file for name, file in named.items() if file is not None}}
    (folder / f"{STEM}.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_an_index_that_agrees_with_its_files_is_taken(tmp_path: Path) -> None:
    assert set(find_weights(sharded(tmp_path / "m"), STEM).tensors) == {"a", "b"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"a": "weights.bin"}, "weights are .safetensors files beside it"),
        ({"a": "../outside.safetensors"}, "weights are .safetensors files beside it"),
        ({"a": "/etc/passwd.safetensors"}, "weights are .safetensors files beside it"),
        ({"a": "sub/x.safetensors"}, "weights are .safetensors files beside it"),
        ({"a": SECOND, "b": SECOND}, "do not agree about a"),
        ({"a": SECOND}, "does not say"),
        ({"b": None}, "do not agree about b|does not say"),
        ({"c": FIRST}, "do not agree about c"),
        ({"a": 7}, "is no index of weights"),
        ({"a": [FIRST]}, "is no index of weights"),
        ({"a": "missing.safetensors"}, "missing.safetensors cannot be read"),
    ],
    ids=lambda item: str(item)[:40],
)
def test_an_index_that_points_elsewhere_is_refused(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    folder = sharded(tmp_path / "m", **changed)
    if changed == {"a": SECOND}:  # SECOND has no a; FIRST is then not named for anything
        words = "do not agree about a"
    if changed == {"b": None}:  # SECOND is not looked at, so that nothing asks for b: the network will
        assert set(find_weights(folder, STEM).tensors) == {"a"}
        return
    with pytest.raises(ArtifactError, match=words) as caught:
        find_weights(folder, STEM)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    """Which of two values the network would get is nobody's to guess."""
    folder = sharded(tmp_path / "m")
    save_file({"b": torch.zeros(2), "a": torch.ones(2)}, folder / SECOND)
    with pytest.raises(ArtifactError, match=f"does not say that a is in {SECOND}"):
        find_weights(folder, STEM)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_are_quantised_weights(tmp_path: Path, dtype: torch.dtype) -> None:
    (tmp_path / "config.json").write_text("{}")
    save_file({"a": torch.zeros(2).to(dtype)}, tmp_path / f"{STEM}.safetensors")
    with pytest.raises(ArtifactError, match=r"a has the type .*: quantised weights are not supported"):
        find_weights(tmp_path, STEM)


@pytest.mark.parametrize("pipeline", [False, True])
def test_pickled_weights_are_refused_with_the_folder_to_import(pipeline, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"x")
    if pipeline:
        (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ArtifactError) as caught:
        find_weights(folder, "model")
    assert f"`bdm import {tmp_path if pipeline else folder} --out NEW`" in str(caught.value)
