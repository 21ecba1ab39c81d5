"""Which class of a model a class of some data is: by name, where names say anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import torch

from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import UNKNOWN, LabelledSamples

_NUMBERED = re.compile(r"(?:label|class)?\d+")
"""Names that say no more than a number."""


def by_number(name: str) -> tuple[int, str]:
    """Key that sorts names of classes: numbers as numbers, other names as text.

    >>> sorted(["10", "2", "1"], key=by_number), sorted(["cow", "cat"], key=by_number)
    (['1', '2', '10'], ['cat', 'cow'])
    """
    return (int(name), name) if name.isdecimal() and len(name) < 20 else (0, name)


def matching(found: Sequence[str], wanted: Sequence[str], where: str) -> list[int]:
    """For each class of some data its number among a model's classes.

    Names are compared without case, blanks, ``_`` and ``-``. Where those of one side are numbers only (``7``,
    ``LABEL_7``), the order counts.

    Args:
        found: names of the data's classes.
        wanted: names of the model's, as many.
        where: what the data are called in a message.

    Raises:
        UserError: the names are others.

    >>> matching(["Dog", "cat"], ["cat", "dog"], "pets"), matching(["0", "1"], ["cat", "dog"], "pets")
    ([1, 0], [0, 1])
    >>> matching(["cow", "cat"], ["cat", "dog"], "pets")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: pets has a class 'cow', which the model does not know (it has cat, dog): rename it, ...
    """
    ours, theirs = [_plain(name) for name in found], [_plain(name) for name in wanted]
    if sorted(ours) == sorted(theirs) and len(set(ours)) == len(ours):
        return [theirs.index(name) for name in ours]
    if any(all(map(_NUMBERED.fullmatch, names)) for names in (ours, theirs)):
        return list(range(len(found)))
    odd = next((name for name, plain in zip(found, ours, strict=True) if plain not in theirs), found[0])
    known = ", ".join(wanted[:8]) + (", ..." if len(wanted) > 8 else "")
    raise UserError(
        f"{where} has a class {odd!r}, which the model does not know (it has {known}): rename it, or choose other data"
    )


def relabelled(rows: LabelledSamples, numbers: Sequence[int], classes: Sequence[str]) -> LabelledSamples:
    """Rows whose labels count through a model's classes.

    Args:
        rows: with labels of their own.
        numbers: as from :func:`matching`.
        classes: the model's names.
    """
    table = torch.tensor([*numbers, UNKNOWN])  # a label of -1 is the last entry
    facts = [
        {**fact, "true_label": numbers[fact["true_label"]]} if isinstance(fact.get("true_label"), int) else fact
        for fact in rows.facts
    ]
    return replace(rows, labels=table[rows.labels], classes=list(classes), facts=facts)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())
