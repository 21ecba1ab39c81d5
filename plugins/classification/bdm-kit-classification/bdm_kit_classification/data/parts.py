"""Three disjoint parts of some data. Light: no torch."""

from __future__ import annotations

from typing import Any, NamedTuple


class Parts(NamedTuple):
    """Three disjoint parts, each stored samples of the modality (pictures: uint8 (N, C, H, W)) and labels (N,) int64.

    Attributes:
        training, reserve, test: the parts.
        classes: their names.
        groups: which rows of the reserve are not independent of each other (one speaker's, one sign's): the name of the
            group of each; empty where they are.
        fingerprint: of data that depend on what is installed: what they were made of, as a short text; "" for others.
    """

    training: tuple[Any, Any]
    reserve: tuple[Any, Any]
    test: tuple[Any, Any]
    classes: list[str]
    fingerprint: str = ""
    groups: list[str] = []
