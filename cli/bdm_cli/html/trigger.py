"""What the detector found, beside the truth: the inverted trigger, its features, and samples drawn with it."""

from __future__ import annotations

from typing import Any

from bdm_cli.html import images, numbers, tensors
from bdm_cli.html.markup import Child, Html, table, tag
from bdm_cli.html.material import Material, read_json
from bdm_core.artifacts import Artifact

TRUE, INVERTED = "True trigger", "Inverted trigger"


def section(material: Material) -> Html | None:
    """None if there is neither a trigger to show nor a feature."""
    detection = material.detection()
    evidence = detection.evidence if detection else None
    content = [_pictures(material.secret(), evidence), _features(evidence), _samples(evidence)]
    if all(part is None for part in content):
        return None
    heading = "Trigger and evidence" if material.secret() is not None else "Evidence"
    return tag("section", tag("h2", heading), tag("div", content, class_="evidence"))


def _pictures(secret: Artifact | None, evidence: Artifact | None) -> Html | None:
    found = [(name, artifact) for name, artifact in ((TRUE, secret), (INVERTED, evidence)) if artifact is not None]
    values = {name: value for name, artifact in found if (value := _tensor(artifact)) is not None}
    limit = max((abs(entry) for value in values.values() for entry in value.values), default=0.0)
    figures = []
    for name, artifact in found:
        picture = images.signed(values[name], f"{name}, signed values", limit) if name in values else None
        if picture is None and "trigger.png" in artifact.files:
            picture = images.single(artifact.file("trigger.png"), name, width=160)
        if picture is not None:
            norm = f"norm {numbers.number(values[name].norm)}" if name in values else None
            caption = tag("figcaption", tag("b", name), tag("br") if norm else None, norm)
            figures.append(tag("figure", picture, caption))
    if not figures:
        return None
    comparison = _comparison(values)
    scale = f"Black is −{numbers.number(limit)}, mid-grey 0, white {numbers.number(limit)}."
    return tag(
        "div",
        tag("div", figures, class_="triggers"),
        tag("p", comparison) if comparison else None,
        tag("p", scale, class_="note") if values else None,
    )


def _comparison(values: dict[str, tensors.Tensor]) -> Child:
    if len(values) < 2:
        return None
    similarity = tensors.cosine(values[TRUE], values[INVERTED])
    if similarity is None:
        return "The two cannot be compared: they differ in shape, or one is zero."
    ratio = values[INVERTED].norm / values[TRUE].norm
    return ["Cosine similarity ", tag("b", numbers.fixed(similarity, 3)), f"; norm ratio {numbers.number(ratio)}."]


def _tensor(artifact: Artifact) -> tensors.Tensor | None:
    name = "tensors.safetensors"
    return tensors.read(artifact.file(name), "trigger") if name in artifact.files else None


def _features(evidence: Artifact | None) -> Html | None:
    loaded = read_json(evidence, "features.json") if evidence is not None else None
    rows: list[list[Child]] = [[name, tag("td", value, class_="number")] for name, value in _flat(loaded)]
    if not rows:
        return None
    return tag("div", tag("h3", "The detector's features"), table(["Feature", "Value"], rows, caption="Features"))


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested JSON as (dotted name, text); a list becomes its values or, if long, its length and range."""
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _flat(item, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list):
        found = [real for item in value if (real := numbers.finite(item)) is not None]
        if len(value) > 6 and len(found) == len(value):
            return [(name, f"{len(value)} values from {numbers.number(min(found))} to {numbers.number(max(found))}")]
        return [(name, ", ".join(_scalar(item) for item in value[:6]) + (", …" if len(value) > 6 else ""))]
    return [(name, _scalar(value))] if name else []


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: numbers.NONE, True: "yes", False: "no"}[value]
    return numbers.number(value) if isinstance(value, int | float) else str(value)


def _samples(evidence: Artifact | None) -> Html | None:
    if evidence is None:
        return None
    paths = images.pictures(evidence, "samples", 16)
    picture = images.grid(paths, f"{len(paths)} samples generated with the inverted trigger")
    if picture is None:
        return None
    return tag("div", tag("h3", "Samples generated with the inverted trigger"), tag("figure", picture))
