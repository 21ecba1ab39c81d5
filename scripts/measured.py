"""Tables of measured numbers for READMEs, made of ``benchmarks/results`` and of nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from workspace import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import text_to_image
import text_to_image_defenses_page
import text_to_image_pairs
from swept import read_lines

RESULTS = ROOT / "benchmarks" / "results"
T2I = ROOT / "plugins" / "text-to-image"
FOLDERS = {
    name: T2I / f"bdm-attack-{'villan-text-to-image' if name == 'villan' else name}"
    for name in ("rickrolling", "badt2i", "eviledit", "sembd", "paas", "villan", "badblocks", "bibaddiff")
}
"""Attack of ``text_to_image.jsonl`` -> the folder of its README."""
DETECTORS = {
    "navit2i": "navit2i",
    "daa": "daa",
    "ufid": "ufid-text-to-image",
    "t2ishield": "t2ishield",
    "temporal-noise": "temporal-noise",
    "scaling-offset": "scaling-offset",
    "prompt-audit": "prompt-audit",
    "blackmirror": "blackmirror",
    "stedf": "stedf",
}
"""Detector of prompts of ``text_to_image_defenses.jsonl`` -> the distribution's name behind ``bdm-defense-``."""


def measured_tables() -> dict[Path, dict[str, str]]:
    """README -> name of a table between its marks -> the table."""
    lines = text_to_image_lines()
    pages = {
        folder / "README.md": {"measured": text_to_image.table(lines, name).strip()} for name, folder in FOLDERS.items()
    }
    found = complete_lines()
    pages |= {
        T2I / f"bdm-defense-{folder}" / "README.md": {
            "measured": text_to_image_defenses_page.prompt_matrix(found, name)
        }
        for name, folder in DETECTORS.items()
    }
    pages[FOLDERS["eviledit"] / "README.md"] |= editor_tables(_json("eviledit.json"))
    pages[T2I / "bdm-kit-text-to-image" / "README.md"] = {"memory": memory_table(_json("text_to_image_memory.json"))}
    return pages


def measured_files() -> dict[Path, str]:
    """Files that hold nothing but a table."""
    return {RESULTS / "text_to_image.md": text_to_image.table(text_to_image_lines())}


def text_to_image_lines() -> list[dict[str, Any]]:
    """The runs of ``text_to_image.jsonl``."""
    return [json.loads(line) for line in (RESULTS / "text_to_image.jsonl").read_text(encoding="utf-8").splitlines()]


def complete_lines() -> list[dict[str, Any]]:
    """The pairs of ``text_to_image_defenses.jsonl`` that were measured, the last of each."""
    lines = text_to_image_pairs.latest(read_lines(text_to_image_pairs.LINES))
    return [line for line in lines if line["status"] == "complete"]


def editor_tables(result: dict[str, Any]) -> dict[str, str]:
    """What ``benchmarks/eviledit.py`` found: times, and distances from the exact solution."""
    times = ["| preserved prompts | shared factor | each by itself | times faster | largest difference |"]
    times += ["|---|---|---|---|---|"]
    times += [
        f"| {entry['preserved_prompts']} | {entry['shared_seconds']:.2f} s | {entry['each_by_itself_seconds']:.1f} s "
        f"| {entry['times_faster']:.1f} | {entry['largest_difference']:.1e} |"
        for entry in result["settings"]
    ]
    exact = ["| solution | largest distance of a weight from the exact one |", "|---|---|"]
    exact += [f"| {name} | {distance:.1e} |" for name, distance in result["accuracy"].items()]
    return {"editor": "\n".join(times), "exact": "\n".join(exact)}


def memory_table(result: dict[str, Any]) -> str:
    """What ``benchmarks/text_to_image_memory.py`` found: peak memory, time and disk of each stage."""
    rows = ["| folder | stage | peak memory | over the model | written | linked | seconds |"]
    rows += ["|---|---|---|---|---|---|---|"]
    for folder in result["folders"]:
        rows += [
            f"| {folder['weights']} | {stage} | {found['peak_gb']:.2f} GB "
            f"| {found['peak_gb'] / folder['sealed_model_gb']:.2f} | {found['written_gb']:.2f} GB "
            f"| {found['linked_gb']:.2f} GB | {found['seconds']:.0f} |"
            for stage, found in folder["stages"].items()
        ]
    return "\n".join(rows)


def _json(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return found
