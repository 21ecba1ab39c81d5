"""What every distribution imports against what it declares, and in which direction imports go."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/*/pyproject.toml"))]
DISTRIBUTION_OF = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "PyYAML", "bdm_core": "bdm"}
DISTRIBUTION_OF |= {"bdm_cli": "bdm", "bdm_results": "bdm", "bdm_sweep": "bdm", "mlflow": "mlflow-skinny"}
DISTRIBUTION_OF |= {"ot": "POT", "umap": "umap-learn"}
"""Where the name to import is not that of the distribution, but for ``_`` and ``-``."""
CORE = [ROOT / "bdm_core", *(ROOT / "cli" / name for name in ("bdm_cli", "bdm_results", "bdm_sweep"))]
KINDS = ("kit", "attack", "defense", "metric", "observer", "executor")
THERE_ANYWAY = {"bdm_core.": {"torch"}, "bdm_cli.": {"torch", "PIL"}, "bdm_core.testing.": {"pytest"}}
"""What modules of the core may import undeclared: only kits and pytest lead there, and they bring it."""


@dataclass(frozen=True)
class Import:
    """One imported module.

    Attributes:
        module: its dotted name.
        names: what is taken from it; () for ``import module``.
        lazy: whether it stands inside a function.
        typing: whether it stands under ``if TYPE_CHECKING``.
    """

    module: str
    names: tuple[str, ...] = ()
    lazy: bool = False
    typing: bool = False

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]

    @property
    def distribution(self) -> str:
        return str(canonicalize_name(DISTRIBUTION_OF.get(self.package, self.package)))


@dataclass(frozen=True)
class Distribution:
    """A distribution of this repository: its declared requirements and the imports of its modules."""

    name: str
    required: frozenset[str]
    extras: dict[str, frozenset[str]]
    modules: dict[str, list[Import]] = field(repr=False)

    @property
    def kind(self) -> str:
        """``kit``, ``attack``, ...; ``core``, or ``library``."""
        if self.name == "bdm":
            return "core"
        kind = self.name.split("-")[1]
        return kind if kind in KINDS else "library"

    def foreign(self) -> Iterator[tuple[str, Import]]:
        """Imports of other distributions, with the importing module."""
        for module, imports in self.modules.items():
            for item in imports:
                if item.distribution != self.name and item.package not in sys.stdlib_module_names:
                    yield module, item


def read_distribution(folder: Path) -> Distribution:
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = CORE if folder == ROOT else [folder / packaged(project["name"])]
    modules = {
        dotted(path, package.parent): imports_of(path) for package in packages for path in sorted(package.rglob("*.py"))
    }
    extras = {extra: names(items) for extra, items in project.get("optional-dependencies", {}).items()}
    return Distribution(project["name"], names(project["dependencies"]), extras, modules)


def packaged(distribution: str) -> str:
    return distribution.replace("-", "_")


def names(requirements: list[str]) -> frozenset[str]:
    return frozenset(str(canonicalize_name(Requirement(item).name)) for item in requirements)


def dotted(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> list[Import]:
    return list(walk(ast.parse(path.read_text(encoding="utf-8")), lazy=False, typing=False))


def walk(node: ast.AST, lazy: bool, typing: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, (), lazy, typing)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        yield Import(node.module or "", tuple(alias.name for alias in node.names), lazy, typing)
    lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    guarded = node.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) else []
    for child in ast.iter_child_nodes(node):
        yield from walk(child, lazy, typing or child in guarded)


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that can reach each other (Tarjan's strongly connected components of more than one node)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1 or node in edges.get(node, ()):
                found.append(sorted(group))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


DISTRIBUTIONS = [read_distribution(folder) for folder in FOLDERS]
BY_NAME = {item.name: item for item in DISTRIBUTIONS}


def by_name(distribution: Distribution) -> str:
    return distribution.name


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}}) == [["a", "b", "c"], ["e"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_imports_are_read_with_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    lines = ["import a.b", "if TYPE_CHECKING:", "    from c import d", "class K:", "    def f(self):"]
    file.write_text("\n".join([*lines, "        from e.f import g, h"]))
    assert imports_of(file) == [
        Import("a.b"),
        Import("c", ("d",), typing=True),
        Import("e.f", ("g", "h"), lazy=True),
    ]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=by_name)
def test_every_import_is_declared(distribution: Distribution) -> None:
    """An extra counts for imports inside functions and for those of types."""
    optional = frozenset().union(*distribution.extras.values())
    undeclared = {
        f"{module}: {item.package}"
        for module, item in distribution.foreign()
        if item.distribution not in distribution.required | (optional if item.lazy or item.typing else frozenset())
        and not any(module.startswith(place) and item.package in given for place, given in THERE_ANYWAY.items())
    }
    assert sorted(undeclared) == []


@pytest.mark.parametrize("distribution", DISTRIBUTIONS[1:], ids=by_name)
def test_every_requirement_is_imported(distribution: Distribution) -> None:
    imported = {item.distribution for _, item in distribution.foreign()}
    assert sorted(distribution.required - imported - {"bdm"}) == []


def test_no_distributions_need_each_other() -> None:
    edges = {item.name: {*item.required.union(*item.extras.values())} & set(BY_NAME) for item in DISTRIBUTIONS[1:]} | {
        "bdm": set(BY_NAME["bdm"].required) & set(BY_NAME)
    }  # its extras only collect plugins
    assert circles(edges) == []


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=by_name)
def test_no_modules_import_each_other(distribution: Distribution) -> None:
    """Imports inside functions count, those of types do not."""
    edges: dict[str, set[str]] = {}
    for module, imports in distribution.modules.items():
        found = edges.setdefault(module, set())
        for item in imports:
            if item.typing:
                continue
            inner = {f"{item.module}.{name}" for name in item.names} & set(distribution.modules)
            outside = len(inner) < max(1, len(item.names)) and item.module in distribution.modules
            found |= inner | ({item.module} if outside else set())
    assert circles(edges) == []


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=by_name)
def test_imports_go_one_way(distribution: Distribution) -> None:
    """Core <- libraries <- kits <- all other plugins, of which none imports another one."""
    allowed = {
        "core": set(),
        "library": {"core", "library"},
        "kit": {"core", "library"},
    }.get(distribution.kind, {"core", "library", "kit"})
    wrong = {
        f"{module}: {item.module}"
        for module, item in distribution.foreign()
        if item.distribution in BY_NAME and BY_NAME[item.distribution].kind not in allowed
    }
    assert sorted(wrong) == []


def test_the_core_does_not_need_the_command_line() -> None:
    core = {module: imports for module, imports in BY_NAME["bdm"].modules.items() if module.startswith("bdm_core")}
    assert [module for module, imports in core.items() if any(item.package == "bdm_cli" for item in imports)] == []


def test_the_library_of_results_does_not_need_the_command_line() -> None:
    own = {module: imports for module, imports in BY_NAME["bdm"].modules.items() if module.startswith("bdm_results")}
    assert own and [module for module, found in own.items() if any(item.package == "bdm_cli" for item in found)] == []


@pytest.mark.parametrize("distribution", DISTRIBUTIONS[1:], ids=by_name)
def test_nothing_imports_a_plugin_module(distribution: Distribution) -> None:
    """What a plugin's modules share, as its parameters, lies beside ``plugin.py``."""
    wrong = {
        f"{module}: {full}"
        for module, imports in distribution.modules.items()
        for item in imports
        for full in (item.module, *(f"{item.module}.{name}" for name in item.names))
        if full.startswith("bdm_") and full.rpartition(".")[2].endswith("plugin") and full != "bdm_core.plugin"
    }
    assert sorted(wrong) == []
