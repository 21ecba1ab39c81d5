"""``bdm plugins new``: a package with a small working plugin, made from the templates."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from bdm_core.discovery.candidates import NAME_PATTERN
from bdm_core.errors import UserError

SUFFIX = ".tmpl"
"""Template files end so, which keeps linters and test runners off them."""
TASK = "unconditional-image-generation"
"""The task that the templates are written for; a kit brings its own."""
NUMERIC = '"bdm>=0.1,<0.2", "bdm-kit-diffusion>=0.1,<0.2", "torch>=2.7"'
DEPENDENCIES = {"observer": '"bdm>=0.1,<0.2"', "kit": '"bdm>=0.1,<0.2", "torch>=2.7", "safetensors>=0.5"'}
"""Dependencies of the kinds that do without the kit ``diffusion``; the others have :data:`NUMERIC`."""
SERVES = """
[project.entry-points."bdm.tasks"]
@@TASK@@ = "@@PACKAGE@@.plugin:@@CLASS@@"
"""
_MARK = re.compile(r"@@([A-Z_]+)@@")


def kinds() -> list[str]:
    """Kinds of plugin that there is a template for."""
    return sorted(item.name for item in _templates().iterdir() if item.is_dir() and item.name != "shared")


def write_package(kind: str, name: str, parent: Path, task: str | None = None) -> Path:
    """Write ``bdm-KIND-NAME/`` below ``parent`` and return it. A kit's task is called like the kit by default.

    The package installs as it is and passes the conformance test that comes with it.

    Raises:
        UserError: there is no template for the kind, for the task; the name has the wrong form, or the folder exists.
    """
    if kind not in kinds():
        raise UserError(f"no template for kind {kind!r}: choose {', '.join(kinds())}")
    if not NAME_PATTERN.fullmatch(name) or name.endswith("-"):
        raise UserError(f"{name!r} is no plugin name: use a-z, 0-9 and -, starting with a letter")
    task = task or (name if kind == "kit" else TASK)
    if kind == "kit" and not NAME_PATTERN.fullmatch(task):
        raise UserError(f"{task!r} is no task tag: use a-z, 0-9 and -, starting with a letter")
    if kind != "kit" and task != TASK:
        raise UserError(f"no template for task {task!r}: leave --task out ({TASK}) and adapt what is written")
    folder = parent / f"bdm-{kind}-{name}"
    if folder.exists():
        raise UserError(f"{folder} exists already: choose another name, or another folder with --out")
    values = {
        "KIND": kind,
        "NAME": name,
        "TASK": task,
        "DISTRIBUTION": folder.name,
        "PACKAGE": folder.name.replace("-", "_"),
        "CLASS": "".join(word.capitalize() for word in (*name.split("-"), kind)),
        "DEPENDENCIES": DEPENDENCIES.get(kind, NUMERIC),
    }
    values["SERVES"] = fill(SERVES, values) if kind == "kit" else ""
    for template in ("shared", kind):
        _write(_templates() / template, folder, values)
    return folder


def _templates() -> Traversable:
    return resources.files("bdm_cli") / "templates"


def _write(source: Traversable, target: Path, values: dict[str, str]) -> None:
    for item in source.iterdir():
        path = target / fill(item.name, values).removesuffix(SUFFIX)
        if item.is_dir():
            _write(item, path, values)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fill(item.read_text(encoding="utf-8"), values), encoding="utf-8")


def fill(text: str, values: dict[str, str]) -> str:
    """A template with each ``@@NAME@@`` replaced by its value."""
    return _MARK.sub(lambda match: values[match.group(1)], text)
