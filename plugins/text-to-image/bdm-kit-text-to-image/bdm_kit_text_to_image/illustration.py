"""What a person sees of prompts, captioned images, prompt pairs, generated images and secrets. Light: no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Artifact, Data, Evidence, Outputs, Secret, roles_of, rows_of
from bdm_core.figures import Curves, Figure, Pictures, Span, Texts
from bdm_kit_text_to_image.prompts import prompt_pairs, prompt_rows, robustness
from bdm_kit_text_to_image.prompts.marking import backdoor_in_words, mark_trigger
from bdm_kit_text_to_image.prompts.secret import PICTURE, TRIGGER_PICTURE, read_secret

SHOWN = 16
"""Prompts, and images made of them: the first of each."""
PROMPT_SCORES = "prompt-scores"
QUANTILES = 21
"""Curves of scores show so many, at equal distances."""
EACH_ROLE = 8
"""Training rows of each role."""


def illustrate(artifact: Artifact, out: Path) -> list[Figure] | None:
    """The figures of an artifact of this kit; None for one that it does not know.

    Args:
        artifact: prompts with the trigger marked; outputs; training data, some of each role, captions marked where the
            row knows its ``twin``; a secret in words, with its pictures; the scores of suspect prompts.
        out: where pictures are written that are no files of the artifact.
    """
    if isinstance(artifact, Secret):
        return _secret(artifact)
    if isinstance(artifact, Evidence):
        return _scores(artifact) if artifact.format == PROMPT_SCORES else None
    if isinstance(artifact, Outputs) and artifact.format == "images":
        files = _files(artifact, range(min(SHOWN, _count(artifact))), out)
        return [Pictures(files=files), *_changed_pictures(artifact)] if files else []
    if not isinstance(artifact, Data) or artifact.format not in ("images", prompt_rows.FORMAT, prompt_pairs.FORMAT):
        return None
    rows = rows_of(artifact)
    if not rows:
        return []
    if artifact.format == prompt_rows.FORMAT:
        figures: list[Figure] = [Texts(rows=[mark_trigger(row["prompt"], row.get("twin")) for row in rows[:SHOWN]])]
        for protocol, prompts in robustness.read_changed(artifact).items():
            told = [[Span(text=prompt)] for prompt in prompts[:SHOWN]]
            figures.append(Texts(title=f"Triggered prompts {robustness.IN_WORDS[protocol]}", rows=told))
        return figures
    roles = roles_of(artifact)
    places = [[index for index, role in enumerate(roles) if role == wanted] for wanted in ("poison", "clean")]
    chosen = [index for indices in places for index in indices[:EACH_ROLE]]
    if artifact.format == prompt_pairs.FORMAT:
        return [Texts(rows=[_pair(rows[index]) for index in chosen])]
    told = [rows[index].get("role", "") for index in chosen]
    return [
        Pictures(files=_files(artifact, chosen, out), labels=told if any(told) else []),
        Texts(rows=[[*_noted(role), *_caption(rows[index])] for index, role in zip(chosen, told, strict=True)]),
    ]


def _changed_pictures(outputs: Outputs) -> list[Figure]:
    """The pictures of prompts or triggers that robustness protocols changed, of outputs that are PNG files."""
    sets = outputs.meta.get("sets")
    found: list[Figure] = []
    for protocol, told in robustness.IN_WORDS.items():
        if isinstance(sets, list) and protocol in sets and outputs.meta["layout"] == "png":
            files = [outputs.file(f"{protocol}/{row:06d}.png") for row in range(min(SHOWN, _count(outputs)))]
            found.append(Pictures(title=f"Pictures {told}", files=files))
    return found


def _secret(secret: Secret) -> list[Figure]:
    opened = read_secret(secret)
    named = {"Target": PICTURE, "Trigger": TRIGGER_PICTURE}
    figures: list[Figure] = [
        Pictures(title=title, files=[secret.file(name)]) for title, name in named.items() if name in secret.files
    ]
    return [*figures, Texts(rows=[backdoor_in_words(item, opened.trigger_name) for item in opened.backdoors])]


def _scores(evidence: Evidence) -> list[Figure]:
    """The scores of clean prompts and of suspects, and the suspects with the highest ones."""
    record = json.loads(evidence.file("scores.json").read_text(encoding="utf-8"))

    def quantiles(values: list[float]) -> list[float]:
        ordered = sorted(values)
        return [ordered[round(step * (len(ordered) - 1) / (QUANTILES - 1))] for step in range(QUANTILES)]

    curves = {"clean prompts": quantiles(record["clean_scores"]), "suspects": quantiles(record["scores"])}
    ranked = sorted(zip(record["scores"], record["prompts"], strict=True), reverse=True)[:SHOWN]
    rows = [
        [
            Span(text=prompt, mark="trigger" if score > record["threshold"] else ""),
            Span(text=f"  {score:.3g}", mark="note"),
        ]
        for score, prompt in ranked
    ]
    caption = f"Prompts above {record['threshold']:.3g} are flagged."
    return [
        Curves(title="Scores of prompts", caption=caption, curves=curves, axis="5 % steps"),
        Texts(title="Highest scores", rows=rows),
    ]


def _pair(row: dict[str, Any]) -> list[Span]:
    prompt = mark_trigger(row["prompt"], row.get("twin"))
    if row.get("role") != "poison":
        return [*_noted(row.get("role", "")), *prompt]
    return [*_noted("poison"), *prompt, Span(text=" → "), Span(text=row["teacher"], mark="target")]


def _caption(row: dict[str, Any]) -> list[Span]:
    caption = mark_trigger(row["caption"], row.get("twin"))
    teacher = row.get("teacher")
    told = teacher is not None and row.get("role") == "poison"
    return [*caption, Span(text=" → "), Span(text=teacher, mark="target")] if told else caption


def _noted(role: str) -> list[Span]:
    return [Span(text=role, mark="note"), Span(text=" ")] if role else []


def _count(artifact: Artifact) -> int:
    count = artifact.meta["count"]
    assert isinstance(count, int)
    return count


def _files(artifact: Artifact, chosen: Sequence[int], out: Path) -> list[Path]:
    """PNG files of some rows of an image set: its own, or ones written from its tensor."""
    if artifact.meta["layout"] == "png":
        return [artifact.file(row["file"]) for row in map(rows_of(artifact).__getitem__, chosen)]
    import numpy as np
    from PIL import Image
    from safetensors import safe_open

    files = []
    with safe_open(artifact.file("images.safetensors"), framework="np") as tensors:
        images = tensors.get_slice("images")
        for index in chosen:
            pixels = images[index : index + 1][0].transpose(1, 2, 0)
            if pixels.dtype != np.uint8:
                pixels = ((pixels.astype(np.float64) + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
            files.append(out / f"{index:06d}.png")
            Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(files[-1])
    return files
