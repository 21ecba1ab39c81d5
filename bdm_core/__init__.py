"""The core of bdm: hook specifications, artifacts, the stage store and the runner.

It imports the standard library, pluggy and pydantic, and never a numerical library. Nothing is imported here, so that
``import bdm_core`` costs nothing; the names below are what a plugin author uses:

* ``from bdm_core.plugin import Plugin, Params, Field, hookimpl``
* ``from bdm_core.artifacts import Data, Model, Secret, Outputs, Evidence, Backdoored, Detection, Subject, Measurement``
* ``from bdm_core.context import Context``
* ``from bdm_core.errors import BdmError, UserError``
"""

API_VERSION = 1
"""The version of the plugin interface. A plugin states the one it was written for in ``Plugin.api``."""

__all__ = ["API_VERSION"]
