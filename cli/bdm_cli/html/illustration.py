"""Asks the run's kit, and for evidence its defense, what a person sees of an artifact."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bdm_cli.html.material import mapping
from bdm_core import hooks
from bdm_core.artifacts import Artifact
from bdm_core.context import Context
from bdm_core.discovery.candidates import find, scoped
from bdm_core.errors import BdmError
from bdm_core.figures import Figure
from bdm_core.machine.foreign import described, foreign_code
from bdm_core.plugin import Params, Plugin


@dataclass(frozen=True)
class Shown:
    """What the plugins answered for one artifact.

    Attributes:
        figures: in the order given.
        folders: where the files of the figures may lie: the artifact and the folder that the hook wrote to.
        complaints: one line each for what could not be asked or went wrong.
    """

    figures: list[Figure] = field(default_factory=list)
    folders: tuple[Path, ...] = ()
    complaints: tuple[str, ...] = ()


class Illustrator:
    """Loads plugins when they are needed first, by the names and distributions that ``run.json`` holds.

    Args:
        record: ``run.json``.
        folder: an empty folder for what the hooks write; it lasts as long as the page is being made.
    """

    def __init__(self, record: dict[str, Any], folder: Path) -> None:
        self._plugins = mapping(record.get("plugins"))
        self._folder = folder
        self._loaded: dict[str, tuple[Plugin | None, str]] = {}

    def ask(self, artifact: Artifact, *, detector: str = "") -> Shown:
        """The figures of an artifact; of a detector's evidence the detector is asked first, the kit last.

        Nothing that a plugin does wrong gets further than a complaint.
        """
        names = [f"defense:{detector.rpartition(':')[2]}"] if detector else []
        names.append(next((name for name in self._plugins if name.startswith("kit:")), "kit:"))
        answers = [self._load(name) for name in names]
        plugins = [plugin for plugin, _ in answers if plugin is not None]
        complaints = tuple(complaint for _, complaint in answers if complaint)
        if not plugins:
            return Shown(complaints=complaints)
        out, work = (Path(tempfile.mkdtemp(dir=self._folder)) for _ in range(2))
        ctx = Context(out, work, seed=0, stage="illustrate", kit=self._kit_params(plugins[-1], names[-1]))
        try:
            with foreign_code():
                figures = hooks.call(scoped(*plugins), "illustrate", ctx=ctx, artifact=artifact) or []
        except Exception as error:  # a plugin may fail in any way; the page is made all the same
            reason = " ".join(str(error).split()) if isinstance(error, BdmError) else described(error)
            return Shown(complaints=(*complaints, f"{names[-1]} could not show it: {reason}"))
        return Shown(figures, (artifact.path, out), complaints)

    def _load(self, name: str) -> tuple[Plugin | None, str]:
        if name not in self._loaded:
            self._loaded[name] = self._find(name)
        return self._loaded[name]

    def _find(self, name: str) -> tuple[Plugin | None, str]:
        kind, _, plain = name.partition(":")
        distribution = str(mapping(self._plugins.get(name)).get("distribution") or "")
        if not plain:
            return None, "The run does not say which kit made it."
        try:
            return find(kind, f"{distribution}:{plain}" if distribution else plain).load(), ""
        except BdmError as error:
            return None, f"{name} cannot be asked what to show: {' '.join(str(error).split())}"

    def _kit_params(self, kit: Plugin, name: str) -> Params | None:
        try:
            return kit.Params.model_validate(mapping(mapping(self._plugins.get(name)).get("params")))
        except ValueError:  # recorded by another version of the kit
            return None
