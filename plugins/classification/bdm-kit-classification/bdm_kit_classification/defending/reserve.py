"""The defender's clean rows in two parts: one to work with, one that selects and sets thresholds.

Accuracy on rows that were trained on is 1 soon and selects nothing, therefore a part is held out.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from bdm_core.artifacts import Data
from bdm_core.errors import UserError
from bdm_kit_classification.data.grouping import Units, groups_of, share_of
from bdm_kit_classification.data.samples import LabelledSamples, open_samples


def open_reserve(data: Data, held_out: float, seed: int) -> tuple[LabelledSamples, LabelledSamples]:
    """The clean rows that a defense was given, divided by :func:`hold_out`.

    Raises:
        UserError: too few rows.
        ArtifactError: as :func:`bdm_kit_classification.data.samples.open_samples`.
    """
    return hold_out(open_samples(data), held_out, seed)


def hold_out(samples: LabelledSamples, share: float, seed: int) -> tuple[LabelledSamples, LabelledSamples]:
    """Divide clean rows at random: those to work with, and a ``share`` of every class that is held out.

    A class with one row keeps it in the first part; of all others each part has at least one. Where no class has two
    rows, the share is one of all rows, whatever their classes, so that two rows are enough.

    Rows of one group (:mod:`bdm_kit_classification.data.grouping`: one speaker, one traffic sign) stay together, as
    what is held out has to be independent of what was worked with. A class of one group keeps it in the first part;
    where groups have several classes, whole groups are held out, and a class may be missing there. Where no group can
    be held out, rows are divided as if there were none.

    Raises:
        UserError: there are fewer than two rows.

    >>> import torch
    >>> rows = LabelledSamples(torch.zeros(9, 1, 8, 8, dtype=torch.uint8), torch.tensor([0] * 4 + [1] * 4 + [2]),
    ...                        ["a", "b", "c"], "image-classification")
    >>> kept, held = hold_out(rows, 0.25, seed=0)
    >>> sorted(kept.labels.tolist()), sorted(held.labels.tolist())
    ([0, 0, 0, 1, 1, 1, 2], [0, 1])
    >>> [len(part) for part in hold_out(rows.pick([0, 4, 8]), 0.25, seed=0)]
    [2, 1]
    """

    def shuffling() -> Callable[[Units], Units]:
        chance = random.Random(seed)
        return lambda units: _shuffled(chance, units)

    held = share_of(samples.labels.tolist(), groups_of(samples.facts), len(samples.classes), share, shuffling)
    if not held:
        raise UserError(
            f"{len(samples)} clean rows are too few to hold a part out: give the defense more of them (--data-share)"
        )
    out = set(held)
    return samples.pick([row for row in range(len(samples)) if row not in out]), samples.pick(held)


def _shuffled(chance: random.Random, units: Units) -> Units:
    chance.shuffle(units)
    return units
