"""A kit and a defense that show artifacts of the formats that the tests of the report write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from bdm_core import Arrays, Artifact, Audio, Context, Curves, Defense, Figure, Kit, Pictures, Span, Texts, hookimpl


class Shown(Kit):
    """Each format is shown in its own way; ``raises``, ``outside`` and ``linked`` are what a plugin must not do."""

    name = "shown"
    tasks = frozenset({"shown"})

    @hookimpl
    def illustrate(self, ctx: Context, artifact: Artifact) -> list[Figure] | None:
        if artifact.format == "raises":
            raise ValueError("the rows\nare <b>odd</b>")
        if artifact.format == "outside":
            return [Pictures(files=[Path(str(artifact.meta["file"]))]), Texts(rows=[[Span(text="still here")]])]
        if artifact.format == "linked":
            (ctx.out / "link.png").symlink_to(str(artifact.meta["file"]))
            return [Pictures(files=[ctx.out / "link.png"])]
        if artifact.format == "written":
            shutil.copyfile(artifact.file("images/000000.png"), ctx.out / "mine.png")
            return [Pictures(files=[ctx.out / "mine.png"], caption="Written by the kit.")]
        if artifact.format == "images":
            return [Pictures(files=_files(artifact, ".png")[:32], labels=_json(artifact, "labels.json") or [])]
        if artifact.format == "texts":
            rows = [[Span(**span) for span in row] for row in _json(artifact, "texts.json")]
            return [Texts(rows=rows)]
        if artifact.format == "sounds":
            return [Audio(files=_files(artifact, ".wav"), labels=_json(artifact, "labels.json") or [])]
        if artifact.format == "secret":
            target = Pictures(title="Target", files=[artifact.file("target.png")])
            return [target, Arrays(title="Trigger", **_json(artifact, "trigger.json"))]
        return None


class Elijah(Defense):
    """Shows an inverted trigger, samples and a curve."""

    name = "elijah"

    @hookimpl
    def illustrate(self, artifact: Artifact) -> list[Figure] | None:
        if artifact.format != "inverted-trigger":
            return None
        samples = Pictures(title="Samples generated with the inverted trigger", files=_files(artifact, ".png"))
        return [
            Arrays(**_json(artifact, "trigger.json")),
            samples,
            Curves(title="Search", curves={"distance": [1.0, 0.5, 0.4, 0.1]}, axis="round"),
        ]


def _files(artifact: Artifact, suffix: str) -> list[Path]:
    return [artifact.file(name) for name in sorted(artifact.files) if name.endswith(suffix)]


def _json(artifact: Artifact, name: str) -> list | dict | None:  # type: ignore[type-arg]
    return json.loads(artifact.file(name).read_text()) if name in artifact.files else None
