"""Inputs and outputs beside trigger and target: from clean and from triggered inputs, a row for each model."""

from __future__ import annotations

from bdm_cli.html import settings, texts
from bdm_cli.html.audio import Player
from bdm_cli.html.drawing import complaint, draw
from bdm_cli.html.illustration import Illustrator
from bdm_cli.html.markup import Html, join, tag
from bdm_cli.html.material import Material
from bdm_core.artifacts import Artifact

ROWS = {
    "Inputs": ("inputs", "triggered inputs"),
    "Clean model": ("clean samples", "clean samples under trigger"),
    "Backdoored model": ("backdoored samples", "backdoored samples under trigger"),
    "Behind the purification": ("purified samples", "purified samples under trigger"),
    "Repaired model": ("repaired samples", "repaired samples under trigger"),
}
"""What a row shows -> the labels of the stages that made it, from clean and from triggered inputs."""
CONDITIONS = ("clean inputs", "triggered inputs")


class _Artist:
    """Draws artifacts and keeps each complaint once."""

    def __init__(self, illustrator: Illustrator, player: Player) -> None:
        self._illustrator, self._player = illustrator, player
        self.complaints: dict[str, None] = {}

    def draw(self, artifact: Artifact | None, name: str) -> list[Html]:
        if artifact is None:
            return []
        shown = self._illustrator.ask(artifact)
        self.complaints |= dict.fromkeys(shown.complaints)
        return draw(shown, name, self._player)


def section(material: Material, illustrator: Illustrator, player: Player) -> Html | None:
    """None if the run has neither inputs, outputs nor an attack."""
    artist = _Artist(illustrator, player)
    rows = [row for name, labels in ROWS.items() if (row := _row(material, artist, name, labels))]
    secret = artist.draw(material.secret(), "Trigger and target")
    training = artist.draw(material.poisoned_data(), "Poisoned training data")
    used = settings.section(material)
    complaints = [complaint(text) for text in artist.complaints]
    if not any((rows, secret, training, used, complaints)):
        return None
    beside = tag("div", tag("h3", "Trigger and target"), secret, class_="secret") if secret else None
    note = (
        "The first of each, chosen by nothing but their order. The same place in two figures of a column comes from "
        "the same input."
    )
    return tag(
        "section",
        tag("h2", "Samples"),
        tag("p", note, class_="note") if rows else None,
        texts.legend(join(rows, secret, training)),
        complaints,
        tag("div", tag("div", rows, class_="grids"), beside, class_="samples") if rows or beside else None,
        tag("div", tag("h3", "Poisoned training data"), training) if training else None,
        used,
    )


def _row(material: Material, artist: _Artist, name: str, labels: tuple[str, str]) -> Html | None:
    if name == "Repaired model" and not material.repairs():
        return None
    cells = []
    for label, condition in zip(labels, CONDITIONS, strict=True):
        drawn = artist.draw(material.artifact(label), f"{name}, {condition}")
        if drawn:
            inputs = name == "Inputs"
            heading = [tag("b", condition.capitalize())] if inputs else [tag("b", name), f", {condition}"]
            cells.append(tag("div", tag("p", heading), drawn, class_="cell"))
    return tag("div", cells, class_="pair") if cells else None
