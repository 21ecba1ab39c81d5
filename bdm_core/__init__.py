"""The core of bdm: hook specifications, artifacts, the stage store and the runner.

It imports the standard library, pluggy and pydantic, and never a numerical library. ``import bdm_core`` costs nothing:
a name below is imported when it is used first.

What an author needs stands here: ``from bdm_core import Attack, Params, Field, hookimpl, Data, Model, Context``. The
Python interface that the command line uses is :mod:`bdm_core.api`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bdm_core.artifacts import Artifact, Data, Evidence, Model, Outputs, Record, Secret
    from bdm_core.context import Context
    from bdm_core.errors import ArtifactError, BdmError, PluginError, StageError, StoreError, UserError
    from bdm_core.figures import Arrays, Audio, Curves, Figure, Pictures, Span, Texts
    from bdm_core.plugin import Attack, Defense, Executor, Field, Kit, Metric, Observer, Params, Plugin
    from bdm_core.plugin import hookimpl as hookimpl
    from bdm_core.records import Backdoored, BuiltIn, Detection, Measurement, Purified, Subject
    from bdm_core.run.specification import RunSpec
    from bdm_results.view import RunView

API_VERSION = 2
"""The version of the plugin interface. A plugin states the one it was written for in ``Plugin.api``."""

_HOMES = {
    "artifacts": "Artifact Data Evidence Model Outputs Record Secret",
    "context": "Context",
    "errors": "ArtifactError BdmError PluginError StageError StoreError UserError",
    "figures": "Arrays Audio Curves Figure Pictures Span Texts",
    "plugin": "Attack Defense Executor Field Kit Metric Observer Params Plugin hookimpl",
    "records": "Backdoored BuiltIn Detection Measurement Purified Subject",
    "run.specification": "RunSpec",
    "bdm_results.view": "RunView",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME[name]
    return getattr(importlib.import_module(home if home.startswith("bdm_") else f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*_HOME, "API_VERSION"])
