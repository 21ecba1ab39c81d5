"""Tell observers what happens. An observer that fails is warned of once and never stops the run."""

from __future__ import annotations

import logging
from typing import Any

from bdm_core.discovery.candidates import scoped
from bdm_core.hooks import call
from bdm_core.machine.foreign import described, foreign_code
from bdm_core.run.preparation import Loaded

NOT_THE_STAGES = {"not_the_stages": True}
"""``extra`` of log records that do not belong to the stage which is running."""


class Observers:
    """The observers of a run.

    Args:
        loaded: the plugins.
        log: where a failure is reported.
    """

    def __init__(self, loaded: list[Loaded], log: logging.Logger) -> None:
        self._managers = [(item, scoped(item.plugin)) for item in loaded]
        self._log = log
        self._failed: set[str] = set()

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call one of the observers' hooks."""
        for item, manager in self._managers:
            try:
                with foreign_code():
                    call(manager, hook, params=item.params, **arguments)
            except Exception as error:  # whatever it is: watching must not change what is watched
                if item.id not in self._failed:
                    self._failed.add(item.id)
                    self._log.warning("%s failed: %s", item.id, described(error), extra=NOT_THE_STAGES)
