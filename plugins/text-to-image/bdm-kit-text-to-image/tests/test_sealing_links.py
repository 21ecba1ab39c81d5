"""Weights that did not change become links to the store's files; what may change is copied."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bdm_core.artifacts import Model
from bdm_kit_text_to_image.models import writing
from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model

WEIGHTS = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
}


@pytest.fixture
def stored(tmp_path: Path) -> Model:
    model = seal_model(tiny_model(), tmp_path / "store")
    for path in model.path.rglob("*"):
        if path.is_file():
            path.chmod(0o444)
    return model


def linked(one: Model, other: Model) -> set[str]:
    return {part for part, name in WEIGHTS.items() if (one.path / name).samefile(other.path / name)}


def test_only_changed_weights_are_written(stored: Model, tmp_path: Path) -> None:
    opened = load_model(stored)
    with torch.no_grad():
        opened.unet.conv_in.bias[0] += 1
    edited = seal_model(opened, tmp_path / "edited")
    assert linked(edited, stored) == {"vae", "text_encoder"}
    opened.origin = None
    assert seal_model(opened, tmp_path / "copied").digest == edited.digest
    Model.open(stored.path)


def test_sealing_again_leaves_the_linked_files_alone(stored: Model, tmp_path: Path) -> None:
    opened = load_model(stored)
    assert linked(seal_model(opened, tmp_path / "again"), stored) == set(WEIGHTS)
    with torch.no_grad():
        for network in opened.networks.values():
            next(network.parameters()).add_(1)
    again = seal_model(opened, tmp_path / "again")
    assert linked(again, stored) == set() and Model.open(again.path).digest == again.digest
    Model.open(stored.path)


def test_files_that_may_change_are_copied(stored: Model, tmp_path: Path) -> None:
    for part, name in WEIGHTS.items():
        (stored.path / name).chmod(0o644)
        assert part not in linked(seal_model(load_model(stored), tmp_path / part), stored)
    opened = load_model(stored.path)  # a folder of the user's, whatever its files' permissions
    assert opened.origin is None


def test_without_hard_links_weights_are_written(stored: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError

    monkeypatch.setattr(writing.os, "link", refuse)
    again = seal_model(load_model(stored), tmp_path / "again")
    assert linked(again, stored) == set() and again.digest == stored.digest
