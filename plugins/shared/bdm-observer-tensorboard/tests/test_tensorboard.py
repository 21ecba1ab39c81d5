"""TensorBoard: a run as the tracker itself reads it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from bdm_core import hooks
from bdm_core.context import Context
from bdm_core.discovery.candidates import scoped
from bdm_core.testing import ObserverConformance
from bdm_core.testing.observer import EVENTS
from bdm_observer_tensorboard.plugin import TensorBoard

pytest.importorskip(
    "tensorboard", reason="the tracker is not installed: pip install 'bdm-observer-tensorboard[engine]'"
)


class TestTensorBoard(ObserverConformance):
    plugin = TensorBoard


def play(place: Path, **params: object) -> None:
    """The events of a run, in order."""
    place.mkdir()
    observer = TensorBoard()
    manager = scoped(observer)
    for hook, arguments in EVENTS:
        given = {"ctx": Context(place, place, 0), "params": observer.Params(**params), "folder": place}
        hooks.call(manager, hook, **given, **arguments)


def test_tensorboard_reads_the_run_back(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    play(tmp_path / "first")
    play(tmp_path / "second", folder=str(tmp_path / "all"))
    for place in (tmp_path / "first" / "tensorboard", tmp_path / "all" / "second"):
        events = EventAccumulator(str(place))
        events.Reload()
        assert set(events.Tags()["scalars"]) == {
            "loss/backdoored model/train",
            "loss/a stage nobody began",
            "seconds/backdoored model",
            "seconds/another one",
            "backdoored/mine.asr_0.05",
        } - {"loss/a stage nobody began"}
        (loss,) = events.Scalars("loss/backdoored model/train")
        assert (loss.step, loss.value) == (3, 0.5)
        assert events.Scalars("backdoored/mine.asr_0.05")[0].value == 0.5
        (settings,) = events.Tensors("settings")
        assert b"| attack/mine.rate | 0.5 |" in settings.tensor_proto.string_val[0]
        (outcome,) = events.Tensors("outcome")
        assert b"| verdict backdoored | clean |" in outcome.tensor_proto.string_val[0]
