"""Turns figures into HTML. Text is escaped; files are embedded if they belong to the artifact, and refused if not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bdm_cli.html import arrays, charts, numbers, pictures, texts
from bdm_cli.html.audio import Player
from bdm_cli.html.illustration import Shown
from bdm_cli.html.markup import Child, Html, tag
from bdm_core.figures import Arrays, Audio, Curves, Figure, Pictures, Texts

CURVE_LIMIT = 8


class _CannotDrawError(Exception):
    """Why a figure is left out, in a line."""


def draw(shown: Shown, name: str, player: Player) -> list[Html]:
    """One element for each figure, and one line for each that cannot be drawn.

    Args:
        shown: the figures, and where their files may lie.
        name: what the figures belong to, for alternative texts.
        player: embeds the page's sound.
    """
    parts = []
    for index, figure in enumerate(shown.figures):
        alt = ", ".join([name, figure.title or f"figure {index + 1}"])
        try:
            content = _content(figure, shown.folders, alt, player)
        except _CannotDrawError as error:
            content = complaint(str(error))
        parts.append(tag("figure", _caption(figure), content, class_="shown"))
    return parts


def complaint(text: str) -> Html:
    """A line that says why something is not shown."""
    return tag("p", text, class_="note complaint")


def _caption(figure: Figure) -> Html | None:
    if not figure.title and not figure.caption:
        return None
    title = tag("b", figure.title) if figure.title else None
    return tag("figcaption", title, " " if title else None, figure.caption)


def _content(figure: Figure, folders: Sequence[Path], alt: str, player: Player) -> Html:
    if isinstance(figure, Pictures):
        return _pictures(figure, folders, alt)
    if isinstance(figure, Texts):
        return texts.draw(figure)
    if isinstance(figure, Audio):
        return player.draw(_inside(figure.files, folders), figure.labels, alt)
    if isinstance(figure, Arrays):
        return arrays.draw(arrays.tensors_of(figure), alt)
    if isinstance(figure, Curves):
        return _curves(figure, alt)
    raise _CannotDrawError(f"A figure of type {type(figure).__name__} cannot be drawn.")


def _pictures(figure: Pictures, folders: Sequence[Path], alt: str) -> Html:
    files = _inside(figure.files, folders)[: pictures.COUNT_LIMIT]
    if len(files) == 1:
        label = figure.labels[0] if figure.labels else ""
        picture = pictures.single(files[0], f"{alt}: {label}" if label else alt)
        made = tag("div", picture, tag("p", label, class_="note") if label else None) if picture else None
    elif any(figure.labels):
        made = pictures.labelled(files, figure.labels, alt)
    else:
        made = pictures.grid(files, f"{alt}: {len(files)} pictures", columns=figure.columns)
    if made is None:
        raise _CannotDrawError("None of the pictures can be read as PNG.")
    left_out = len(figure.files) - len(files)
    return tag(
        "div", made, tag("p", f"{left_out} further pictures are not shown.", class_="note") if left_out else None
    )


def _curves(figure: Curves, alt: str) -> Html:
    panels: list[Child] = []
    for name, values in list(figure.curves.items())[:CURVE_LIMIT]:
        chart = charts.curve([numbers.finite(value) for value in values], f"{alt}, {name}", axis=figure.axis)
        if chart is not None:
            panels.append(tag("figure", tag("figcaption", tag("b", name)), chart))
    if not panels:
        raise _CannotDrawError("The curves have fewer than two points.")
    return tag("div", panels, class_="panels")


def _inside(files: Sequence[Path], folders: Sequence[Path]) -> list[Path]:
    """The files, links followed. Raises an error for one that does not lie in one of the folders."""
    roots = [folder.resolve() for folder in folders]
    real = [Path(file).resolve() for file in files]
    for file in real:
        if not any(file.is_relative_to(root) for root in roots):
            raise _CannotDrawError(f"Not shown: {file.name} is neither part of the artifact nor below ctx.out.")
    return real
