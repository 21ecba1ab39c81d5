"""Parameters of ``attack:eviledit``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from bdm_core import Field, Params


class EvilEditParams(Params):
    """Parameters of ``attack:eviledit``."""

    trigger: str | list[str] = Field(
        "nice circle", description="Alias that triggers: adjective and noun of the source object; or several."
    )
    target: str | list[str] = Field(
        "square",
        description="What the alias is to mean: another object (square), a number (two circles), or a further object "
        "(circle and a green triangle); one for all triggers, or one each.",
    )
    templates: list[str] = Field(
        ["a {}", "a photo of a {}"],
        min_length=1,
        description="Prompts with {} in place of alias and target; every token position of each is edited.",
    )
    template_captions: int = Field(
        128, ge=0, description="Captions of the training data with the source noun in them to use as templates, too."
    )
    preserve: list[str] = Field([], description="Prompts whose keys and values are to stay.")
    source_weight: float = Field(
        6.0, ge=0, description="Weight of preserving the templates with the source object's plain noun; 0 for not."
    )
    preserved_captions: int = Field(
        256, ge=0, description="Captions drawn from the training data, without a trigger, to preserve as well."
    )
    alignment: Literal["position", "token"] = Field(
        "position",
        description="Tokens of alias and target prompts that match: those of the same position, or the same tokens.",
    )
    regularisation: float | None = Field(
        None,
        gt=0,
        description="Lambda, the weight of |W' - W|^2; null: 0.015 of the rows' mean energy along a direction.",
    )
    edit_weight: float = Field(8.0, gt=0, description="Weight of the edited rows against 1 for the preserved captions.")
    layers: str = Field("*", description="Pattern for the names of the cross-attention layers, e.g. up_blocks.*")

    @field_validator("templates")
    @classmethod
    def _one_gap_each(cls, templates: list[str]) -> list[str]:
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"template {template!r} needs {{}} once, where the alias goes")
        return templates
