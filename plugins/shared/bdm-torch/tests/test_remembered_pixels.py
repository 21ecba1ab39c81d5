"""The pixels of small sets that were just written, remembered instead of decoded again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bdm_core.artifacts import Outputs
from bdm_core.errors import ArtifactError
from bdm_torch.image_sets import load_images, seal_images
from bdm_torch.images import from_bytes, to_bytes

TASK = "unconditional-image-generation"


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 4)])
def test_remembered_pixels_are_those_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    drawn = torch.rand(7, *shape, generator=torch.Generator().manual_seed(0)) * 2.2 - 1.1
    sealed = seal_images(tmp_path / "set", drawn, Outputs, task=TASK)
    remembered = load_images(sealed)
    remembered[0] = 0.5  # what is handed out is nobody else's
    monkeypatch.setattr("bdm_torch.image_sets._KEPT", {})
    from_files = load_images(Outputs.open(tmp_path / "set"))
    monkeypatch.undo()
    again = load_images(Outputs.open(tmp_path / "set"))
    assert torch.equal(from_files, again) and torch.equal(from_files[1:], remembered[1:])


def test_pixels_are_remembered_by_content_and_not_for_large_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[tuple[str, str], Any] = {}
    monkeypatch.setattr("bdm_torch.image_sets._KEPT", kept)
    monkeypatch.setattr("bdm_torch.image_sets.SMALL_SET", 4 * 64)
    monkeypatch.setattr("bdm_torch.image_sets.MOST_KEPT", 2)
    seal_images(tmp_path / "large", torch.zeros(5, 1, 8, 8), Outputs, task=TASK)
    assert not kept
    sets = [seal_images(tmp_path / str(i), torch.full((4, 1, 8, 8), i / 4), Outputs, task=TASK) for i in range(3)]
    assert [digest for digest, _ in kept] == [sealed.digest for sealed in sets[1:]]
    changed = tmp_path / "2" / "images" / "000000.png"
    changed.write_bytes((tmp_path / "0" / "images" / "000000.png").read_bytes())
    with pytest.raises(ArtifactError, match="does not match the hash"):
        Outputs.open(tmp_path / "2")
    resealed = Outputs.seal(tmp_path / "2", format="images", task=TASK, meta=dict(sets[2].meta))
    assert load_images(resealed)[0].unique().tolist() == from_bytes(to_bytes(torch.zeros(1))).tolist()
