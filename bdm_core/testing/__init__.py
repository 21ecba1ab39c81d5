"""The conformance kit: what every plugin's own tests subclass. It needs pytest, which nothing else in the core does.

::

    from bdm_core.testing import AttackConformance

    class TestVillan(AttackConformance):
        plugin = "villan"                       # the name of an installed plugin, or its class
        params = {"steps": 4, "batch_size": 4}  # parameters that make it fast

Nothing is imported until a name is used, so that the pytest plugin beside this file costs other test suites nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bdm_core.testing.attack import AttackConformance
    from bdm_core.testing.defense import DefenseConformance
    from bdm_core.testing.executor import ExecutorConformance
    from bdm_core.testing.kit import KitConformance
    from bdm_core.testing.metric import MetricConformance
    from bdm_core.testing.observer import ObserverConformance
    from bdm_core.testing.tiny import Bench

__all__ = [
    "AttackConformance",
    "Bench",
    "DefenseConformance",
    "ExecutorConformance",
    "KitConformance",
    "MetricConformance",
    "ObserverConformance",
]

_HOMES = {
    "AttackConformance": "attack",
    "Bench": "tiny",
    "DefenseConformance": "defense",
    "ExecutorConformance": "executor",
    "KitConformance": "kit",
    "MetricConformance": "metric",
    "ObserverConformance": "observer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
