"""Grids of generated samples: from clean and from triggered inputs; clean, backdoored and repaired model."""

from __future__ import annotations

from bdm_cli.html import images
from bdm_cli.html.markup import Html, tag
from bdm_cli.html.material import Material

MODELS = (("clean", "Clean model"), ("backdoored", "Backdoored model"), ("repaired", "Repaired model"))
CONDITIONS = (("", "clean inputs"), (" under trigger", "triggered inputs"))
COUNT = 32


def section(material: Material) -> Html | None:
    """One row for each model, one column for each condition, the target beside them; None without any samples."""
    rows = []
    for role, name in MODELS:
        figures = []
        for suffix, condition in CONDITIONS:
            outputs = material.artifact(f"{role} samples{suffix}")
            if outputs is None:
                continue
            paths = images.pictures(outputs, "images", COUNT)
            picture = images.grid(paths, f"First {len(paths)} samples of the {name.lower()} from {condition}")
            if picture is not None:
                figures.append(tag("figure", tag("figcaption", tag("b", name), f", {condition}"), picture))
        if figures:
            rows.append(tag("div", figures, class_="pair"))
    if not rows:
        return None
    return tag(
        "section",
        tag("h2", "Samples"),
        tag(
            "p",
            f"The first {COUNT} samples of each model, chosen by nothing but their order. The same place in two grids "
            "of a column comes from the same input.",
            class_="note",
        ),
        tag("div", tag("div", rows, class_="grids"), _target(material), class_="samples"),
    )


def _target(material: Material) -> Html | None:
    secret = material.secret()
    if secret is None or "target.png" not in secret.files:
        return None
    picture = images.single(secret.file("target.png"), "The target that the attack wants to be generated")
    return tag("figure", tag("figcaption", tag("b", "Target")), picture, class_="target") if picture else None
