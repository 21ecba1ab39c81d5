"""The parameters of plugins: described fields with a default, checked when they are built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pydantic
from pydantic import BaseModel, ConfigDict, field_validator

LARGEST = 10**9
"""No parameter is a larger whole number; a plugin states closer limits."""


def Field(
    default: Any = ..., *, description: str, stages: Sequence[str] | None = None, calibrated: bool = False, **more: Any
) -> Any:
    """A parameter: pydantic's ``Field`` with a description and two marks of its own.

    Args:
        default: its value if nothing is given; a plugin's parameters all have one.
        description: one or two sentences with unit and range, for ``bdm plugins show``.
        stages: the stages in which it counts, e.g. ``["generate"]``: changing it repeats those alone. In every other
            stage the field has its default value. None: it counts in all.
        calibrated: a calibration file holds for one value of it, see ``bdm calibrate``.
        more: pydantic's further arguments (``gt``, ``ge``, ``pattern``, ...).

    >>> class MineParams(Params):
    ...     poison_rate: float = Field(0.1, ge=0, le=1, description="Share of training images to poison.")
    ...     sampler: str = Field("ddim", description="Of the evaluation.", stages=["generate"])
    >>> MineParams(poison_rate=0.2).poison_rate
    0.2
    >>> MineParams.mark("sampler", "stages")
    ['generate']
    """
    marks: dict[str, Any] = {"stages": list(stages)} if stages is not None else {}
    if calibrated:
        marks["calibrated"] = True
    return pydantic.Field(default, description=description, json_schema_extra=marks or None, **more)


class Params(BaseModel):
    """Base of a plugin's parameters: frozen, unknown names refused, every field with a description and a default.

    NaN, infinity and whole numbers beyond :data:`LARGEST` are refused. A string that is the path of an existing file
    counts by the file's content.

    >>> class MineParams(Params):
    ...     steps: int = Field(50, ge=1, description="Sampling steps.", stages=["generate"])
    >>> MineParams(steps=20).for_stage("generate"), MineParams(steps=20).for_stage("detect")
    (MineParams(steps=20), MineParams(steps=50))
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, protected_namespaces=(), allow_inf_nan=False
    )

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        parts = [value]
        while parts:
            part = parts.pop()
            if isinstance(part, int) and abs(part) > LARGEST:
                raise ValueError(f"whole numbers are at most {LARGEST}")
            parts += part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()
        return value

    @classmethod
    def mark(cls, name: str, mark: str) -> Any:
        """What :func:`Field` was told for a parameter: its ``stages``, whether it is ``calibrated``; else None."""
        extra = cls.model_fields[name].json_schema_extra
        return extra.get(mark) if isinstance(extra, dict) else None

    @classmethod
    def calibrated_fields(cls) -> tuple[str, ...]:
        """The parameters whose values a calibration depends on, in their order."""
        return tuple(name for name in cls.model_fields if cls.mark(name, "calibrated"))

    def for_stage(self, stage: str) -> Params:
        """These parameters with every field that does not count for ``stage`` set back to its default."""
        limited = {name: self.mark(name, "stages") for name in type(self).model_fields}
        foreign = {name for name, stages in limited.items() if stages is not None and stage not in stages}
        return type(self)(**self.model_dump(exclude=foreign)) if foreign else self
