"""Parameters of ``metric:verification``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class VerificationParams(Params):
    """Parameters of ``metric:verification``."""

    enrolled_with: int = Field(
        5, ge=1, le=1000, description="Test recordings that each speaker is enrolled with; the others are trials."
    )
