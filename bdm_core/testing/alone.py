"""What a plugin imports, seen in a fresh process. This module is light, so that the process holds nothing else."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HEAVY = ("torch", "numpy", "diffusers", "transformers", "accelerate", "sklearn")
"""Modules that importing a plugin must not bring in; its hooks import them."""


@functools.cache
def run_alone(code: str, heavy: tuple[str, ...], *arguments: str) -> tuple[str, str]:
    """Run code in a fresh process: what went wrong, and which heavy modules came in.

    Args:
        code: Python statements.
        heavy: the modules to look for.
        arguments: ``sys.argv[1:]`` of the process.
    """
    code = f"import sys\n{code}\nprint(*sorted(set({heavy!r}) & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return (done.stderr.strip() or "no reason given" if done.returncode else ""), done.stdout.strip()


def use_kit(request: str) -> None:
    """What a kit must do without heavy imports: name its models and data, know a folder, show artifacts.

    Args:
        request: JSON with ``module`` and ``name`` of the class, its ``params``, an empty ``folder``, the path of a
            ``model`` and of the ``artifacts`` (kind, path) to show.
    """
    import importlib

    from bdm_core import artifacts, hooks
    from bdm_core.context import Context
    from bdm_core.discovery.candidates import scoped

    wanted: dict[str, Any] = json.loads(request)
    kit = getattr(importlib.import_module(wanted["module"]), wanted["name"])()
    kit.models()
    kit.data_sets()
    kit.task_of(Path(wanted["model"]))
    for place, (kind, path) in enumerate(wanted["artifacts"]):
        folder = Path(wanted["folder"], str(place))
        for name in ("out", "work"):
            (folder / name).mkdir(parents=True)
        params = kit.Params(**wanted["params"])
        ctx = Context(out=folder / "out", work=folder / "work", seed=0, stage="illustrate", kit=params)
        artifact = getattr(artifacts, kind).open(Path(path))
        hooks.call(scoped(kit), "illustrate", ctx=ctx, artifact=artifact)
