"""Parameters of ``metric:stealth``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class StealthParams(Params):
    """Parameters of ``metric:stealth``."""

    samples: int = Field(512, ge=1, description="Test samples that are compared with themselves under the trigger.")
