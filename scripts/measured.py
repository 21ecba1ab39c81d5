"""Tables of measured numbers for READMEs, made of ``benchmarks/results`` and of nothing else."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from workspace import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import detection
import detection_numbers
import detection_page
import text_to_image
import text_to_image_defenses_page
import text_to_image_pairs
from swept import read_lines

RESULTS = ROOT / "benchmarks" / "results"
T2I = ROOT / "plugins" / "text-to-image"
IMAGES = ROOT / "plugins" / "unconditional-image"
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

INVERSIONS = {
    "elijah": ("the plugin's default batch: 16, in pairs eps, -eps", "cosine to the true trigger", 1),
    "terd": ("the plugin's default: 4 pairs", "loss on pairs that no step used", -1),
    "diff-cleanse": ("`inverting_share=0.5`", "share of similar images (MSCR)", 1),
}
"""Defense of ``originals.json`` -> what its own batch is, what its quality is, and the sign with which that is kept."""


def measured_tables() -> dict[Path, dict[str, str]]:
    """README -> name of a table between its marks -> the table."""
    lines = text_to_image_lines()
    pages = {
        folder / "README.md": {"measured": text_to_image.table(lines, name).strip()} for name, folder in FOLDERS.items()
    }
    pages[ROOT / "README.md"] = {"measured-text-to-image": text_to_image.table(lines).strip()}
    found = complete_lines()
    pages |= {
        T2I / f"bdm-defense-{folder}" / "README.md": {
            "measured": text_to_image_defenses_page.prompt_matrix(found, name)
        }
        for name, folder in DETECTORS.items()
    }
    pages[FOLDERS["eviledit"] / "README.md"] |= editor_tables(_json("eviledit.json"))
    pages[T2I / "bdm-kit-text-to-image" / "README.md"] = {"memory": memory_table(_json("text_to_image_memory.json"))}
    originals, judged = _json("originals.json"), detection_lines()
    for name in INVERSIONS:
        tables = {"population": population_table(judged, name), "speed": speed_table(originals, name)}
        pages[IMAGES / f"bdm-defense-{name}" / "README.md"] = tables
    for name in detection.PRESETS["paper"]:
        pages[IMAGES / f"bdm-defense-{name}" / "README.md"]["published"] = published_table(name)
    pages[IMAGES / "bdm-defense-diff-cleanse" / "README.md"]["one-model"] = one_model_table(judged)
    pages[IMAGES / "bdm-defense-ufid" / "README.md"] = {"population": inputs_table(judged, "ufid")}
    return pages


def measured_files() -> dict[Path, str]:
    """Files that hold nothing but a table."""
    return {RESULTS / "text_to_image.md": text_to_image.table(text_to_image_lines())}


def text_to_image_lines() -> list[dict[str, Any]]:
    """The runs of ``text_to_image.jsonl``."""
    return [json.loads(line) for line in (RESULTS / "text_to_image.jsonl").read_text(encoding="utf-8").splitlines()]


def detection_lines() -> list[dict[str, Any]]:
    """The lines of ``detection.jsonl`` that judge or repair a model."""
    return [line for line in detection.read_lines() if line["defense"] != "samplers"]


def population_table(lines: list[dict[str, Any]], name: str) -> str:
    """What the detection page says of a detector over all classes of backdoor."""
    rows = detection_page.detection_table(lines)
    return detection_numbers.markdown([row[1:] for row in rows if row[0] in ("detector", name)])


def published_table(name: str) -> str:
    """The score of each model with a detector's published settings, which the shipped calibration does not cover."""
    lines = [line for line in detection.read_lines(detection.PAPER) if line["defense"] == name]
    rows = [["model", "class of backdoor", "half", "score"]]
    for line in sorted(lines, key=lambda line: (line["group"], line["model"])):
        rows.append([line["model"], line["group"], line["half"], f"{line['detection']['score']:.2f}"])
    return detection_numbers.markdown(rows)


def inputs_table(lines: list[dict[str, Any]], name: str) -> str:
    """What the detection page says of a detector of inputs, by class of backdoor."""
    rows = detection_page.input_table(lines)
    return detection_numbers.markdown([row[:1] + row[2:] for row in rows if row[1] in ("detector", name)])


def one_model_table(lines: list[dict[str, Any]], model: str = "villan-ode-digits-ddpm-1") -> str:
    """Diff-Cleanse's repair of one model, beside plain fine-tuning."""
    rows = [["repair", "ASR before", "after", "Fréchet distance of the clean model", "before", "after"]]
    for line in lines:
        if line["model"] == model and line["defense"] in ("diff-cleanse", "fine-tune"):
            found = line["metrics"]
            asr = [f"{found[f'{row}: asr@0.05']:.2f}" for row in ("backdoored", "repaired")]
            distances = [
                f"{found[f'{row}: frechet_digits-classifier']:.1f}" for row in ("clean", "backdoored", "repaired")
            ]
            rows.append([line["defense"], *asr, *distances])
    return detection_numbers.markdown(rows)


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
    must = result["must"]
    said = (
        f"Asked for: data at most {must['data_gb']} GB, edits at most {must['edit_times_model']} times the model; "
        f"what is measured {'meets' if result['met'] else 'does not meet'} it."
    )
    missing = [f"{weights}: {', '.join(stages)}" for weights, stages in result["not_measured"].items() if stages]
    said += f" Not measured: {'; '.join(missing)}." if missing else ""
    return "\n".join([*rows, "", *textwrap.wrap(said, 118)])


def speed_table(results: dict[str, Any], name: str) -> str:
    """What ``benchmarks/originals.py`` found of a defense, against the released loop."""
    found = results[name]
    own, quality, sign = INVERSIONS[name]
    labels = {"released": "released loop", "same batch": "the plugin, published batch", "own batch": own}
    rows = ["| | iterations to equal quality | CPU s | times as fast |", "|---|---|---|---|"]
    for side, label in labels.items():
        count, spent = found["iterations_to_quality"][side], found["seconds_to_quality"].get(side)
        cells = ["not reached", "–", "–"]
        if spent is not None:
            cells = [str(count), f"{spent:.2f}", f"{found['times_as_fast_to_quality'][side]:.2f}"]
        rows.append(f"| {label} | {' | '.join(cells)} |")
    each = found["seconds_an_iteration"]
    said = [
        f"Quality: {quality}, {sign * found['quality']:.3g} with the most iterations of the released loop.",
        f"{found['iterations']} iterations with the published batch: {1000 * each['released']:.0f} ms each in the "
        f"released loop and {1000 * each['same batch']:.0f} ms here, "
        f"{found['times_as_fast_at_equal_iterations']:.2f} times as fast.",
    ]
    if second := found.get("seconds_an_iteration_of_stage_2"):
        said.append(
            f"An iteration of stage 2: {1000 * second['released']:.0f} ms released, "
            f"{1000 * second['same batch']:.0f} ms with as many pairs "
            f"({second['released'] / second['same batch']:.2f} times as fast), "
            f"{1000 * second['own batch']:.0f} ms with the plugin's 2."
        )
    return "\n".join([*rows, "", *textwrap.wrap(" ".join(said), 118)])


def _json(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return found
