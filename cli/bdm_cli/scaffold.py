"""``bdm plugins new``: a package with a small working plugin, made from the templates.

A package is written from several folders of templates, each after the one that is more general: ``templates/shared``,
then ``templates/KIND/GROUP`` for tasks of one group (``pictures``: their outputs are image sets; ``classifiers``) and
``templates/KIND/TASK``, or ``templates/KIND/any`` where there is neither.
"""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from bdm_core.discovery.candidates import NAME_PATTERN
from bdm_core.errors import UserError

SUFFIX = ".tmpl"
"""Template files end so, which keeps linters and test runners off them."""
LONGEST_NAME = 60
GROUPS = {
    "unconditional-image-generation": "pictures",
    "text-to-image": "pictures",
    "image-classification": "classifiers",
    "text-classification": "classifiers",
    "audio-classification": "classifiers",
}
"""Task -> the group whose templates it shares."""
BDM = '"bdm>=0.1,<0.2"'
REQUIRED = {
    "attack/unconditional-image-generation": ("bdm-diffusers", "bdm-kit-diffusion", "bdm-torch"),
    "defense/unconditional-image-generation": ("bdm-kit-diffusion", "bdm-torch"),
    "attack/text-to-image": ("bdm-kit-text-to-image",),
    "defense/text-to-image": ("bdm-kit-text-to-image",),
    "attack/classifiers": ("bdm-kit-classification",),
    "defense/classifiers": ("bdm-kit-classification",),
    "metric/classifiers": ("bdm-kit-classification",),
    "metric/pictures": ("bdm-torch",),
    "metric/any": ("bdm-torch",),
}
"""Template -> bdm's own distributions that it imports."""
TORCH = '"torch>=2.7"'
LIBRARIES = {
    "attack/classifiers": (TORCH,),
    "defense/classifiers": (TORCH,),
    "metric/classifiers": (TORCH,),
    "metric/pictures": (TORCH,),
    "kit/any": (TORCH, '"safetensors>=0.5"'),
}
"""Template -> other distributions that it imports."""
SERVES = """
[project.entry-points."bdm.tasks"]
@@TASK@@ = "@@PACKAGE@@.plugin:@@CLASS@@"
"""
_MARK = re.compile(r"@@([A-Z_]+)@@")


def kinds() -> list[str]:
    """Kinds of plugin that there is a template for."""
    return sorted(item.name for item in _templates().iterdir() if item.is_dir() and item.name != "shared")


def write_package(kind: str, name: str, parent: Path, task: str | None = None) -> Path:
    """Write ``bdm-KIND-NAME/`` below ``parent`` and return it.

    The package installs as it is and passes the conformance test that comes with it.

    Args:
        kind: one of :func:`kinds`.
        name: of the plugin.
        parent: an existing folder, or one to be made.
        task: the task it is for. A kit's is called like the kit by default; an observer has none; for other kinds the
            default is the task of the installed kit with the highest precedence.

    Raises:
        UserError: there is no template for the kind; no installed kit serves the task; the name has the wrong form; or
            the folder exists or cannot be written.
    """
    if kind not in kinds():
        raise UserError(f"no template for kind {kind!r}: choose {', '.join(kinds())}")
    if not NAME_PATTERN.fullmatch(name) or name.endswith("-"):
        raise UserError(f"{_short(name)} is no plugin name: use a-z, 0-9 and -, starting with a letter")
    if len(name) > LONGEST_NAME:
        raise UserError(f"{_short(name)} is too long for a plugin's name: use at most {LONGEST_NAME} characters")
    task = _task_for(kind, name, task)
    folder = parent / f"bdm-{kind}-{name}"
    templates = _templates_for(kind, task)
    values = {
        "KIND": kind,
        "NAME": name,
        "TASK": task,
        "FOR_TASK": f" for the task `{task}`" if task else "",
        "DISTRIBUTION": folder.name,
        "PACKAGE": folder.name.replace("-", "_"),
        "CLASS": "".join(word.capitalize() for word in (*name.split("-"), kind)),
        "DEPENDENCIES": ", ".join([BDM, *_own(templates, task), *_of(LIBRARIES, templates)]),
    }
    values["SUMMARY"] = fill(_summary(templates), values)
    values["SERVES"] = fill(SERVES, values) if task else ""
    try:
        if folder.exists():
            raise UserError(f"{folder} exists already: choose another name, or another folder with --out")
        for part in ("shared", *templates):
            _write(_templates() / part, folder, values)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}; choose a folder with --out") from None
    return folder


def _summary(templates: list[str]) -> str:
    """What the class of the templates says of itself, for the listings, which read the package's metadata."""
    files = [_templates() / template / "@@PACKAGE@@" / f"plugin.py{SUFFIX}" for template in templates]
    text = next(file for file in reversed(files) if file.is_file()).read_text(encoding="utf-8")
    found = re.search(r'^    summary = "([^"]+)"$', text, re.MULTILINE)
    assert found is not None, f"the templates {', '.join(templates)} have no summary"
    return found.group(1)


def _task_for(kind: str, name: str, task: str | None) -> str:
    from bdm_core.discovery.tasks import choose_task, kits_by_task

    if kind == "observer":
        if task is not None:
            raise UserError("an observer works for every task: leave --task out")
        return ""
    if kind == "kit":
        if task is not None and not NAME_PATTERN.fullmatch(task):
            raise UserError(f"{_short(task)} is no task tag: use a-z, 0-9 and -, starting with a letter")
        return task or name
    served = kits_by_task()
    if task is not None and task not in served:
        raise UserError(
            f"no installed kit serves task {_short(task)}; kits serve {', '.join(sorted(served)) or 'none'}"
        )
    return choose_task(task, [])


def _templates_for(kind: str, task: str) -> list[str]:
    """The folders of templates of a kind for a task, beside the shared one: the more general first."""
    folders = {item.name for item in (_templates() / kind).iterdir()}
    found = [name for name in (GROUPS.get(task), task) if name in folders]
    return [f"{kind}/{name}" for name in found or ["any"]]


def _own(templates: list[str], task: str) -> list[str]:
    """The bdm distributions to require; those of a template for any task are the task's kit, which its tests need."""
    from bdm_core.discovery.tasks import kits_by_task

    own = [f'"{name}>=0.1,<0.2"' for name in _of(REQUIRED, templates)]
    if not templates[-1].endswith("/any") or templates[-1].startswith(("kit/", "observer/")):
        return own
    return [*own, *(f'"{item.distribution}"' for item in kits_by_task().get(task, [])[:1])]


def _of(table: dict[str, tuple[str, ...]], templates: list[str]) -> list[str]:
    """What a table holds for templates."""
    return [item for template in templates for item in table.get(template, ())]


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


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
