"""Images that are read when asked for, and safetensors written tensor by tensor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from bdm_core.artifacts import Data
from bdm_torch import image_sets
from bdm_torch.image_rows import ImageRows, batch_of
from bdm_torch.image_sets import load_images, open_images, seal_images
from bdm_torch.tensors import holds, write_tensors

NUMBERS = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 2, 2)


def counted(log: list[list[int]]) -> ImageRows:
    def read(rows: list[int]) -> torch.Tensor:
        log.append(rows)
        return NUMBERS[rows]

    return ImageRows(NUMBERS.shape, read)


def test_rows_are_taken_like_those_of_a_tensor() -> None:
    images = ImageRows.of(NUMBERS)
    for rows in (slice(1, 4), slice(None), [5, 0, 5], torch.tensor([2, 1]), NUMBERS[:, 0, 0, 0] > 3, slice(0, 0)):
        assert torch.equal(images[rows], NUMBERS[rows])
    assert torch.equal(images[-1], NUMBERS[-1]) and len(images) == 6 and images.shape == (6, 1, 2, 2)
    assert [float(image.mean()) for image in images] == [0, 1, 2, 3, 4, 5]
    assert [len(part) for part in images.split(4)] == [4, 2]


def test_nothing_is_read_before_it_is_asked_for() -> None:
    log: list[list[int]] = []
    images = counted(log).pick([4, 2, 0]).changed(lambda batch, rows: batch + torch.tensor(rows).view(-1, 1, 1, 1))
    joined = images.followed_by(ImageRows.of(NUMBERS))
    assert log == [] and len(joined) == 9
    assert joined[[3, 1, 8, 0]][:, 0, 0, 0].tolist() == [0, 2 + 1, 5, 4 + 0]
    assert log == [[2, 4]]


def test_pictures_are_written_and_read_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[list[int]] = []
    monkeypatch.setattr("bdm_torch.image_rows.PIXELS_AT_ONCE", 8)
    scaled = counted(log).changed(lambda batch, rows: batch / 5 * 2 - 1)
    data = seal_images(tmp_path / "data", scaled, Data, task="text-to-image")
    assert log == [[0, 1], [2, 3], [4, 5]] and batch_of((1, 2, 2), 64) == 2
    torch.testing.assert_close(open_images(data)[[5, 0]], torch.stack([NUMBERS[5], NUMBERS[0]]) / 5 * 2 - 1)
    same = seal_images(tmp_path / "same", NUMBERS / 5 * 2 - 1, Data, task="text-to-image")
    assert same.digest == data.digest and torch.equal(load_images(data), open_images(data)[:])


def test_many_large_pictures_are_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_sets, "MOST_PNG_FILES", 1)
    small = seal_images(tmp_path / "small", torch.zeros(2, 1, 8, 8), Data, task="text-to-image")
    large = seal_images(tmp_path / "large", torch.zeros(2, 1, 128, 128), Data, task="text-to-image")
    assert small.meta["layout"] == "uint8" and large.meta["layout"] == "png"


def test_tensor_files_are_those_of_the_library(tmp_path: Path) -> None:
    kinds = (torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.float16, torch.uint8, torch.float64)
    tensors = {f'"ü" {number}': torch.ones(number, 3, dtype=kind) for number, kind in enumerate(kinds)}
    tensors["turned"], tensors["alone"] = torch.randn(4, 3).T, torch.tensor(2.0)
    tensors["shared"] = tensors["turned"]
    path = tmp_path / "one.safetensors"
    write_tensors(path, tensors)
    assert path.read_bytes() == save(
        {name: value.contiguous().clone() for name, value in tensors.items()}, {"format": "pt"}
    )
    assert holds(path, tensors)
    assert not holds(path, {**tensors, "alone": torch.tensor(2.5)})
    assert not holds(path, {name: value for name, value in tensors.items() if name != "alone"})
    path.write_bytes(path.read_bytes() + b"more")
    assert not holds(path, tensors)
