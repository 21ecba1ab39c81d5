"""A run as event files, by TensorBoard's own writer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_tracking.tracking import missing

if TYPE_CHECKING:
    from bdm_observer_tensorboard.params import TensorBoardParams

FOLDER = "tensorboard"


class EventFiles:
    """A :class:`bdm_tracking.tracking.Writer`: numbers as scalars, settings and notes as text.

    Args:
        folder: where the files go.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder))

    def settings(self, values: dict[str, str | int | float | bool]) -> None:
        """A table of settings, as text."""
        self._text("settings", values)

    def number(self, name: str, value: float, step: int) -> None:
        """A scalar."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._add(Summary(value=[Summary.Value(tag=name, simple_value=value)]), step)

    def close(self, status: str, notes: dict[str, str]) -> None:
        """Status and notes as text; the file is closed."""
        self._text("outcome", {"status": status, **notes})
        self._writer.close()

    def _text(self, tag: str, values: dict[str, Any]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.plugins.text.metadata import create_summary_metadata

        lines = [
            "| setting | value |",
            "|---|---|",
            *(f"| {name} | {_cell(value)} |" for name, value in values.items()),
        ]
        tensor = TensorProto(dtype=DT_STRING, string_val=["\n".join(lines).encode()])
        metadata = create_summary_metadata(display_name=tag, description="")
        self._add(Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]), 0)

    def _add(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


def open_writer(params: TensorBoardParams, folder: Path, name: str) -> EventFiles:
    """The writer of a run.

    Raises:
        UserError: TensorBoard is not installed.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise missing("tensorboard", "TensorBoard", error) from None
    return EventFiles(Path(params.folder).expanduser() / name if params.folder else folder / FOLDER)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
