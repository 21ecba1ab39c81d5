"""What the detector found: its figures, arrays beside the attack's own, and its features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bdm_cli.html import arrays, features, texts
from bdm_cli.html.audio import Player
from bdm_cli.html.drawing import complaint, draw
from bdm_cli.html.illustration import Illustrator, Shown
from bdm_cli.html.markup import Html, join, tag
from bdm_cli.html.material import Material
from bdm_core.artifacts import Artifact, Evidence
from bdm_core.figures import Arrays
from bdm_core.files import read_json
from bdm_core.records import Detection

FEATURES = "features.json"
"""A file of evidence that every detector may write: what led to its verdict, as nested JSON."""


def sections(material: Material, illustrator: Illustrator, player: Player) -> list[Html | None]:
    """One for each detector of a scan, or for the detector of a run; None for one without evidence to show."""
    if material.is_scan():
        found = material.detectors().items()
        return [_section(material, name, item, illustrator, player) for name, item in found]
    detector = str(material.spec().get("detect") or "")
    return [_section(material, detector, material.detection(), illustrator, player)]


def _section(
    material: Material, detector: str, detection: Detection | None, illustrator: Illustrator, player: Player
) -> Html | None:
    evidence = detection.evidence if detection else None
    if evidence is None:
        return None
    shown = illustrator.ask(evidence, detector=detector)
    secret = material.secret()
    compared = _compared(illustrator.ask(secret) if secret is not None else Shown(), shown)
    rest = [figure for figure in shown.figures if not (compared and isinstance(figure, Arrays))]
    content = [compared, *draw(replace(shown, figures=rest), "Evidence", player), _features(evidence)]
    complaints = [complaint(text) for text in shown.complaints]
    if not any(content) and not complaints:
        return None
    return tag(
        "section",
        tag("h2", f"Evidence of {detector}" if material.is_scan() else "Evidence"),
        complaints,
        texts.legend(join(content)),
        tag("div", content, class_="evidence"),
    )


def _compared(secret: Shown, evidence: Shown) -> Html | None:
    """The detector's arrays on one scale with the first of the attack's of the same shape; None without such a pair."""
    found = _tensors(evidence)
    true = next((item for item in _tensors(secret) if any(item.shape == other.shape for other in found)), None)
    if true is None:
        return None
    return tag("div", arrays.draw([true, *found], "Evidence"), arrays.comparison(true, found))


def _tensors(shown: Shown) -> list[arrays.Tensor]:
    figures = [figure for figure in shown.figures if isinstance(figure, Arrays)]
    return [tensor for figure in figures for tensor in arrays.tensors_of(figure)]


def _features(evidence: Evidence) -> Html | None:
    drawn = features.tree(_read_json(evidence, FEATURES))
    return tag("div", tag("h3", "The detector's features"), drawn, class_="features") if drawn else None


def _read_json(artifact: Artifact, name: str) -> Any:
    if name not in artifact.files:
        return None
    try:
        return read_json(artifact.file(name))
    except (OSError, ValueError, RecursionError):
        return None
