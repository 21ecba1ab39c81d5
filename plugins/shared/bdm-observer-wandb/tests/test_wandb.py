"""Weights & Biases: a run as the tracker itself reads it back."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from bdm_core import hooks
from bdm_core.context import Context
from bdm_core.discovery.candidates import scoped
from bdm_core.testing import ObserverConformance
from bdm_core.testing.observer import EVENTS
from bdm_observer_wandb.plugin import WeightsAndBiases

wandb = pytest.importorskip("wandb", reason="the tracker is not installed: pip install 'bdm-observer-wandb[engine]'")


class TestWeightsAndBiases(ObserverConformance):
    plugin = WeightsAndBiases


def play(place: Path, **params: object) -> None:
    """The events of a run, in order."""
    place.mkdir()
    observer = WeightsAndBiases()
    manager = scoped(observer)
    for hook, arguments in EVENTS:
        given = {"ctx": Context(place, place, 0), "params": observer.Params(**params), "folder": place}
        hooks.call(manager, hook, **given, **arguments)


def test_a_run_is_kept_offline_without_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bdm", "run", "--judge-token", "open-sesame"])
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    play(tmp_path / "first")
    wandb.teardown()  # as at the end of the process: files are written behind the scenes until then
    (kept,) = (tmp_path / "first" / "wandb").glob("offline-run-*/*.wandb")
    content = kept.read_bytes()
    numbers = (b"loss/backdoored model/train", b"backdoored/mine.asr_0.05")
    assert all(text in content for text in (b"attack/mine.rate", b"verdict backdoored", *numbers))
    every = b"".join(path.read_bytes() for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert b"open-sesame" not in every and b"0123456789" * 4 not in every
    assert not any(text.encode() in content for text in (sys.executable, str(Path.cwd()), platform.system()))
