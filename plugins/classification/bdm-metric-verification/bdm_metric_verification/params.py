"""Parameters of ``metric:verification``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class VerificationParams(Params):
    """Parameters of ``metric:verification``."""

    enrolled_with: int = Field(
        5, ge=1, le=1000, description="Recordings that each speaker is enrolled with; the others are trials."
    )
    others: str = Field(
        "",
        description="Data of further speakers that are enrolled as well, those that training did not hear, as --data "
        "takes them: further-speakers, or a folder with a sub-folder of recordings a speaker; empty: none.",
    )
