"""The report as one self-contained HTML page: nothing is loaded from elsewhere, and there is no script."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path

from bdm_cli.html import detectors, evidence, kept, kept_pictures, provenance, samples, stages, table, verdict
from bdm_cli.html.audio import Player
from bdm_cli.html.illustration import Illustrator
from bdm_cli.html.markup import Html, join, tag
from bdm_cli.html.material import Material
from bdm_results.view import RunView

POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
"""The browser itself refuses to load anything, even if text in the run were to slip through."""


def render(run: RunView) -> str:
    """The report of a run, complete or not.

    Args:
        run: the run; its artifacts are read from the store beside it, and its kit and its detector are asked what to
            show of them. What is missing there is left out; a plugin that is missing or fails is named.

    Returns:
        An HTML document, the same text for the same run.
    """
    material = Material(run)
    with tempfile.TemporaryDirectory(prefix="bdm-report-") as folder:
        illustrator, player = Illustrator(material.record, Path(folder)), Player()
        sections = [
            verdict.section(material),
            detectors.section(material) if material.is_scan() else None,
            table.section(material),
            samples.section(material, illustrator, player),
            *evidence.sections(material, illustrator, player),
            kept_pictures.section(material),
            kept.section(material),
            stages.curves(material),
            stages.costs(material),
            provenance.section(material),
        ]
    style = resources.files("bdm_cli.html").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", verdict.title(material)),
        tag("style", Html(style)),
    )
    return "<!doctype html>\n" + join(tag("html", head, tag("body", tag("main", sections)), lang="en")) + "\n"
