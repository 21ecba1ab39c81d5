"""The parameters."""

from __future__ import annotations

from bdm_core import Field, Params


class TensorBoardParams(Params):
    """Where event files go."""

    folder: str = Field("", description="Folder for event files; by default `tensorboard` in the run's folder.")
