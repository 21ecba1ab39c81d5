"""Many runs at once: a plan becomes cells, cells become one graph of stages, and an executor works it off.

``bdm sweep`` is this package behind a command line; :func:`sweep` is the same from Python.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bdm_sweep.plan import Plan as Plan
    from bdm_sweep.plan import read_plan as read_plan
    from bdm_sweep.sweeping import Summary as Summary
    from bdm_sweep.sweeping import sweep as sweep

_HOME = {"Plan": "plan", "read_plan": "plan", "Summary": "sweeping", "sweep": "sweeping"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
