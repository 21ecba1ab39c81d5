"""Rows that the runner chooses; the kit makes data of them."""

from __future__ import annotations

import math
import random

from bdm_core.artifacts import Data, Outputs
from bdm_core.errors import PluginError, UserError
from bdm_core.run.preparation import Loaded
from bdm_core.run.specification import stage_seed
from bdm_core.run.stages import StageRunner


class Rows:
    """Chooses rows of data by the run's seed.

    Args:
        stages: makes the data.
        kit: the task's kit, which selects.
        seed: the run's seed.
    """

    def __init__(self, stages: StageRunner, kit: Loaded, seed: int) -> None:
        self._stages, self._kit, self._seed = stages, kit, seed

    def select(self, sources: list[Data], rows: list[int], label: str, *, blind: bool = False) -> Data:
        """The rows of these numbers, counted through all sources."""
        given = {"sources": sources, "rows": rows, "blind": blind}
        data: Data = self._stages.run("select_rows", [self._kit], given, label=label)
        if count_of(data) != len(rows):
            raise PluginError(f"{self._kit.id} gave {count_of(data)} rows while making {label!r}, not {len(rows)}")
        return data

    def first(self, data: Data, share: float, label: str) -> Data:
        """The first rows, a share in (0, 1] of all and at least one; the data itself if that is all of it."""
        count = max(1, round(share * count_of(data)))
        return data if count == count_of(data) else self.select([data], list(range(count)), label)

    def drawn(self, data: Data, share: float, label: str) -> Data:
        """A random share in (0, 1] of the rows, at least one, in their order.

        Data with ``meta["reserve"]`` have so many rows more, numbered from the count on, that no attack ever gets; the
        rows are then drawn from those, as many as the share of the others asks for.

        Raises:
            UserError: the reserve has fewer.
        """
        count, pool = self.pool(data, share)
        return self.select([data], sorted(self._random(label).sample(pool, count)), label)

    @staticmethod
    def pool(data: Data, share: float) -> tuple[int, range]:
        """How many rows :meth:`drawn` gives, and of which. Raises UserError: the reserve has fewer."""
        total, reserve = count_of(data), int(str(data.meta.get("reserve", 0)))
        count = max(1, math.floor(share * total + 0.5))
        if 0 < reserve < count:
            raise UserError(f"data_share {share:g} asks for {count} rows, the data's reserve has {reserve}")
        return count, range(total, total + reserve) if reserve else range(total)

    def shuffled(self, sources: list[Data], label: str) -> tuple[Data, list[int]]:
        """All rows in random order with nothing that tells them apart, and which rows they are."""
        order = list(range(sum(map(count_of, sources))))
        self._random(label).shuffle(order)
        return self.select(sources, order, label, blind=True), order

    def blind(self, data: Data, label: str) -> Data:
        """All rows in their order, with nothing that tells a clean from a triggered one."""
        return self.select([data], list(range(count_of(data))), label, blind=True)

    def _random(self, label: str) -> random.Random:
        return random.Random(stage_seed(self._seed, f"rows {label}", self._kit.id))


def count_of(data: Data | Outputs) -> int:
    """The number of rows, ``meta["count"]``. Raises PluginError if the manifest does not have it."""
    count = data.meta.get("count")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise PluginError(f'the data in {data.path} has no meta["count"]: seal data with its number of rows')
    return count
