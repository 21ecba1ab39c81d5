"""Write the generated tables within READMEs: plugins in the root's, modules in those of kits and libraries, numbers.

Numbers of a benchmark come from its results file and from nowhere else, see :mod:`measured`.

A table stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``. ``python scripts/write_tables.py`` writes all,
``--check`` says which are out of date (then exit code 1). The core must be installed.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

from measured import measured_files, measured_tables
from workspace import ROOT, Project, projects, write_or_check
from write_plugin_pages import access_of, page_path, plugins_of

from bdm_core.plugin import KINDS, Defense, Plugin

SENTENCE_END = re.compile(r"\. (?=[A-Z])")
ROLE = re.compile(r":\w+:`[\w.]*?(\w+)`")
"""A cross-reference of a docstring, of which the last name is left."""
KIND_ORDER = ("kit", *(kind for kind in KINDS if kind != "kit"))


def between(text: str, name: str, table: str) -> str:
    """A README with a table put between its marks."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"no place for the table: the README needs the lines {begin.strip()} and {end}")
    return f"{before}{begin}{table}\n{end}{after}"


def plugin_tables() -> str:
    """All plugins, a table for each task and one for those that serve several or all."""
    groups: dict[str, list[tuple[Plugin, Project]]] = {}
    for project in projects()[1:]:
        for plugin in plugins_of(project):
            groups.setdefault(next(iter(plugin.tasks)) if len(plugin.tasks) == 1 else "", []).append((plugin, project))
    parts = []
    for task in sorted(groups, key=lambda task: (task == "", task)):
        lines = [f"### {f'Task `{task}`' if task else 'Several tasks, or every one'}", ""]
        lines += ["| plugin | what it does | access of a defense |", "|---|---|---|"]
        ordered = sorted(groups[task], key=lambda item: (KIND_ORDER.index(item[0].kind), item[0].name))
        parts.append("\n".join(lines + [row(plugin, project) for plugin, project in ordered]))
    return "\n\n".join(parts)


def row(plugin: Plugin, project: Project) -> str:
    """One line of a table of plugins."""
    link = f"[{plugin.kind} {plugin.name}]({page_path(plugin, project).relative_to(ROOT).as_posix()})"
    tasks = f" ({', '.join(f'`{task}`' for task in sorted(plugin.tasks))})" if len(plugin.tasks) > 1 else ""
    access = access_of(plugin) if isinstance(plugin, Defense) else ""
    return f"| {link} | {plugin.summary}{tasks} | {access} |"


def module_table(project: Project) -> str:
    """All modules of a distribution by folder, each with the first sentence of its docstring and its public names."""
    package = project.folder / project.name.replace("-", "_")
    lines = ["| module | what it has | functions and classes |", "|---|---|---|"]
    paths = [path for path in package.rglob("*.py") if path.name != "__init__.py"]
    for path in sorted(paths, key=lambda path: (len(path.relative_to(package).parts) > 1, path)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = path.relative_to(package).with_suffix("").as_posix()
        lines.append(f"| `{name}` | {first_sentence(tree, path)} | {', '.join(public_names(tree))} |")
    return "\n".join(lines)


def first_sentence(tree: ast.Module, path: Path) -> str:
    """The first sentence of a module's docstring, without its full stop."""
    text = ast.get_docstring(tree)
    if not text:
        raise SystemExit(f"{path.relative_to(ROOT)} has no docstring")
    paragraph = ROLE.sub(r"`\1`", " ".join(text.partition("\n\n")[0].split()).replace("``", "`"))
    return SENTENCE_END.split(paragraph)[0].removesuffix(".")


def public_names(tree: ast.Module) -> list[str]:
    """What a module defines for others: its functions and classes."""
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [f"`{name}`" for name in defined if not name.startswith("_")]


def files() -> dict[Path, str]:
    """The READMEs that have a table, with it up to date."""
    root = ROOT / "README.md"
    made = {root: between(root.read_text(encoding="utf-8"), "plugins", plugin_tables())}
    for project in projects()[1:]:
        library = not project.toml["project"].get("entry-points")
        if library or project.name.startswith("bdm-kit-"):
            readme = project.folder / "README.md"
            made[readme] = between(readme.read_text(encoding="utf-8"), "modules", module_table(project))
    for page, tables in measured_tables().items():
        text = made.get(page) or page.read_text(encoding="utf-8")
        for name, table in tables.items():
            text = between(text, name, table)
        made[page] = text
    return {**made, **measured_files()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    sys.exit(write_or_check(files(), parser.parse_args().check, "make docs"))
