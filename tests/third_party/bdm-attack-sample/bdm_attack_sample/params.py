"""Parameters of ``attack:sample``."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field, Params


class SampleParams(Params):
    """Parameters of ``attack:sample``."""

    trigger_value: float = Field(2.0, gt=0, description="What the trigger adds to every number of the initial noise.")
    bias_shift: float = Field(0.5, description="What the edit adds to the last bias of the network.")
    sampler: Literal["one-step"] = Field("one-step", description="The attack's own sampler.")
