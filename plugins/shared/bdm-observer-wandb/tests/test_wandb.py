"""Weights & Biases: a run as the tracker itself reads it back."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from bdm_core import hooks
from bdm_core.context import Context
from bdm_core.discovery.candidates import scoped
from bdm_core.testing import ObserverConformance
from bdm_core.testing.observer import EVENTS
from bdm_observer_wandb.plugin import WeightsAndBiases

pytest.importorskip("wandb", reason="the tracker is not installed: pip install 'bdm-observer-wandb[engine]'")


class TestWeightsAndBiases(ObserverConformance):
    plugin = WeightsAndBiases


def play(folder: Path, **params: object) -> None:
    """The events of a run, in order."""
    folder.mkdir()
    observer = WeightsAndBiases()
    manager = scoped(observer)
    for hook, arguments in EVENTS:
        given = {"ctx": Context(folder, folder, 0), "params": observer.Params(**params), "folder": folder}
        hooks.call(manager, hook, **given, **arguments)


def test_a_run_is_kept_offline_without_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bdm", "run", "--judge-token", "open-sesame"])
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    play(tmp_path / "first")
    (kept,) = (tmp_path / "first" / "wandb").glob("offline-run-*/*.wandb")
    content = kept.read_bytes()
    for text in (
        b"attack/mine.rate",
        b"loss/backdoored model/train",
        b"backdoored/mine.asr_0.05",
        b"verdict backdoored",
    ):
        assert text in content
    every = b"".join(path.read_bytes() for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert b"open-sesame" not in every and b"0123456789" * 4 not in every
    assert socket.gethostname().encode() not in content
