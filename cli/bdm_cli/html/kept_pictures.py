"""Pictures that stages kept: ``ctx.figures(pictures={title: {"caption": "", "files": [{"label": "", "png": ""}]}})``.

They are base64 of PNG files; each is decoded and written anew, so that nothing but pixels gets into the page.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from bdm_cli.html import pictures
from bdm_cli.html.markup import Html, tag
from bdm_cli.html.material import Material, mapping

MOST_FIGURES, MOST_PICTURES, LONGEST = 80, 16, 300
SMALL, LARGE = 72, 480
"""How wide pictures are on the page at least and at most, in CSS pixels."""


def section(material: Material) -> Html | None:
    """The first figures of the stages, stage by stage; what is no picture is left out."""
    stages, count = [], 0
    for entry in material.run.stages:
        drawn = []
        for title, kept in mapping(mapping(entry.get("figures")).get("pictures")).items():
            figure = _figure(f"{entry.get('label')}, {title}", title, mapping(kept)) if count < MOST_FIGURES else None
            if figure is not None:
                drawn.append(figure)
                count += 1
        if drawn:
            stages.append(tag("div", tag("h3", str(entry.get("label"))), tag("div", drawn, class_="panels")))
    return tag("section", tag("h2", "Analyses"), stages) if stages else None


def _figure(alt: str, title: str, kept: dict[str, Any]) -> Html | None:
    files = kept.get("files")
    made = []
    for item in files[:MOST_PICTURES] if isinstance(files, list) else []:
        label = str(mapping(item).get("label") or "")[:LONGEST]
        picture = _picture(mapping(item).get("png"), f"{alt}: {label}" if label else alt)
        if picture is not None:
            made.append(tag("li", picture, tag("span", label)))
    if not made:
        return None
    caption = tag("figcaption", tag("b", title[:LONGEST]), " ", str(kept.get("caption") or "")[:LONGEST])
    return tag("figure", caption, tag("ul", made, class_="kept"))


def _picture(text: Any, alt: str) -> Html | None:
    try:
        content = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return None
    image = pictures.decoded(content)
    return pictures.element(image, alt, width=min(LARGE, max(SMALL, image.width))) if image is not None else None
