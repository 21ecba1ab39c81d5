"""Parameters of ``metric:judge``. Light: no torch, no openai."""

from __future__ import annotations

from bdm_core import Field
from bdm_language_model.params import EndpointParams


class JudgeParams(EndpointParams):
    """Parameters of ``metric:judge``: those of the endpoint, and what it is asked."""

    model: str | None = Field("gpt-4o-2024-08-06", description="The judging model's name at the endpoint.")
    most_pictures: int | None = Field(
        None, ge=1, description="Judge at most so many pictures of clean prompts, and as many of triggered ones."
    )
    most_questions: int = Field(8, ge=1, le=30, description="At most so many questions for one caption.")
    least_side: int = Field(
        256,
        ge=1,
        le=4096,
        description="Smaller pictures are enlarged to this side, pixel by pixel, before they are sent.",
    )
    classifier: str | None = Field(
        None,
        description="Folder of the attribute classifier that the judge is compared with; null: the built-in one, for "
        "data of the small world.",
    )
    threshold: float = Field(
        0.05,
        gt=0,
        le=1,
        description="For that comparison: an image shows a target picture that names no threshold if its mean squared "
        "error, pixels in [0, 1], is below.",
    )
