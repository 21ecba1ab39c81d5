"""Import torch and diffusers in a third of the time: what no kit needs is imported when somebody asks for it.

Importing one network of diffusers imports all its networks, and with them peft, transformers' models, scipy's
distributions and torch's compiler. :func:`install` changes four things about these imports, and nothing about what a
program finds in the modules:

- Packages that import all they have, or are imported for the sake of one rare option (:data:`DEFERRED`), run when one
  of their names is looked up. Their submodules are imported as ever.
- Modules that mark something for torch's compiler (:data:`MARKING`) do not import it for that: classes stay unmarked,
  which diffusers provides for, and functions that are not to be compiled are marked when they are first called.
- A module that would import transformers only to name one of its classes in an annotation names a stand-in for it.
- The garbage collector rests meanwhile: modules are no garbage, and it would look at all of them again and again.
"""

from __future__ import annotations

import functools
import gc
import importlib.abc
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

LARGE = frozenset({"accelerate", "diffusers", "peft", "scipy", "torch", "transformers"})
"""Packages during whose import the garbage collector rests."""
DEFERRED = frozenset(
    {
        "diffusers.hooks",
        "diffusers.models.transformers",
        "diffusers.models.unets",
        "scipy.integrate",
        "scipy.stats",
    }
)
"""Packages that are run when one of their names is looked up."""
MARKING = frozenset({"diffusers.hooks.group_offloading", "diffusers.utils.torch_utils"})
"""Modules that would import the compiler only to mark something for it."""
COMPILER = "torch._dynamo"
ANNOTATED = "diffusers.quantizers.pipe_quant_config"
"""A module that would import transformers for the sake of one annotation."""
ANNOTATION = ("transformers.utils.quantization_config", "QuantizationConfigMixin")
"""The module and the class that it is annotated with."""

Run = Callable[[importlib.abc.Loader, ModuleType], None]


def install() -> None:
    """Make the imports quick; calling it again does nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def keep_imported() -> None:
    """Tell the garbage collector that all there is by now stays until the process ends.

    For the module of a kit that imports the large packages, as its last import: half a million objects of theirs need
    not be looked at again. It is done once a process.
    """
    if not _kept:
        _kept.append(True)
        gc.freeze()


_kept: list[bool] = []


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of large packages where Python finds them, and changes how they are run."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in LARGE:
            return None
        runs: dict[str, Run] = {
            **dict.fromkeys(DEFERRED, _defer),
            **dict.fromkeys(MARKING, _run_without_compiler),
            ANNOTATED: _run_with_stand_in,
        }
        run = runs.get(name, _run_without_collector if gc.isenabled() else None)
        spec = PathFinder.find_spec(name, path, target) if run is not None else None
        if run is None or spec is None or spec.loader is None:
            return None
        spec.loader = _Loader(spec.loader, run)
        return spec


class _Loader(importlib.abc.Loader):
    """Runs a module in another way, and then leaves its own loader in its place."""

    def __init__(self, plain: importlib.abc.Loader, run: Run) -> None:
        self._plain, self._run = plain, run

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._plain.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._plain
        self._run(self._plain, module)


class _Deferred(ModuleType):
    """A package that is run when a name is looked up which it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        with _lock(self.__name__):
            if type(self) is _Deferred:
                self.__class__ = _Running
                try:
                    _loader_of(self).exec_module(self)
                except BaseException:
                    self.__class__ = _Deferred
                    raise
                self.__class__ = ModuleType
        return getattr(self, name)


class _Running(ModuleType):
    """Such a package while it runs: other threads wait, itself finds what is there already."""

    def __getattr__(self, name: str) -> Any:
        with _lock(self.__name__):
            if type(self) is not _Running:
                return getattr(self, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


@functools.cache
def _lock(name: str) -> threading.RLock:
    return threading.RLock()


def _loader_of(module: ModuleType) -> importlib.abc.Loader:
    assert module.__spec__ is not None
    assert module.__spec__.loader is not None
    return module.__spec__.loader


def _defer(plain: importlib.abc.Loader, module: ModuleType) -> None:
    module.__class__ = _Deferred


def _run_without_compiler(plain: importlib.abc.Loader, module: ModuleType) -> None:
    import torch.compiler

    if COMPILER in sys.modules:
        plain.exec_module(module)
        return
    disable = torch.compiler.disable
    sys.modules[COMPILER] = None  # type: ignore[assignment] - Python's way to say that a module cannot be imported
    torch.compiler.disable = functools.partial(_disable_later, disable)
    try:
        _run_or_else(plain, module)
    finally:
        torch.compiler.disable = disable
        sys.modules.pop(COMPILER, None)
    if module.__name__ in _refused:
        plain.exec_module(module)


def _disable_later(disable: Any, function: Any = None, recursive: bool = True, **options: Any) -> Any:
    """``torch.compiler.disable``, which imports the compiler, at the first call of the function instead of now."""
    if function is None:
        return functools.partial(_disable_later, disable, recursive=recursive, **options)
    disabled: list[Any] = []

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not disabled:
            disabled.append(disable(function, recursive, **options))
        return disabled[0](*args, **kwargs)

    return call


def _run_with_stand_in(plain: importlib.abc.Loader, module: ModuleType) -> None:
    place, name = ANNOTATION
    if place.partition(".")[0] in sys.modules:
        plain.exec_module(module)
        return
    stand_in = ModuleType(place)
    setattr(stand_in, name, type(name, (), {"__module__": place}))
    sys.modules[place] = stand_in
    try:
        _run_or_else(plain, module)
    finally:
        del sys.modules[place]
    if module.__name__ in _refused:
        plain.exec_module(module)


_refused: set[str] = set()
"""Modules of another version of diffusers, which do not run in the quick way: they run in the plain one."""


def _run_or_else(plain: importlib.abc.Loader, module: ModuleType) -> None:
    try:
        plain.exec_module(module)
    except (ImportError, AttributeError, TypeError):
        _refused.add(module.__name__)


def _run_without_collector(plain: importlib.abc.Loader, module: ModuleType) -> None:
    gc.disable()
    try:
        plain.exec_module(module)
    finally:
        gc.enable()
