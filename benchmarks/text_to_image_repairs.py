"""Repairs of backdoored text-to-image models: `python benchmarks/text_to_image_repairs.py OUT`.

For each member of `text_to_image_population.py` that was audited: the audit's own removal with the triggers that the
audit found and its defaults, reset to the public base, and normalised prompts. One line of JSON each, success and
accuracy before and after on 48 prompts, goes to ``benchmarks/results/text_to_image_repairs.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from text_to_image_adaptive import rates
from text_to_image_audit import RESULTS, read_lines

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_defense_reset_to_base.repair import pairs
from bdm_defense_text_to_image_audit.candidates import Candidate
from bdm_defense_text_to_image_audit.params import TextToImageAuditParams
from bdm_defense_text_to_image_audit.repair import remove
from bdm_kit_text_to_image.models.opening import source_of
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned, world_images
from bdm_kit_text_to_image.prompts.secret import open_secret
from bdm_results.view import RunView

LINES = RESULTS.with_name("text_to_image_repairs.jsonl")
DATA = 1024
RESETS = {
    "reset-to-base projections": ["projections"],
    "reset-to-base text-encoder": ["text-encoder"],
    "reset-to-base added-tokens": ["added-tokens"],
}
FITTING = {
    "eviledit": "reset-to-base projections",
    "sembd": "reset-to-base projections",
    "tpa": "reset-to-base text-encoder",
    "taa": "reset-to-base text-encoder",
    "paas": "reset-to-base added-tokens",
}
"""Attack -> the part that it changed: what a user of the base must guess."""


def reset(model: TextToImageModel, parts: list[str]) -> None:
    """Give up the parts for the base's."""
    base = load_model(source_of("small-world", Path("cache")))
    with torch.no_grad():
        for part in parts:
            for mine, other in pairs(model, base, part):
                mine.copy_(other)


def repaired(name: str, model: TextToImageModel, line: dict[str, Any], data: Data) -> dict[str, Any]:
    """Change the model in place; what the repair says of itself."""
    if name in RESETS:
        reset(model, RESETS[name])
        return {}
    told: dict[str, Any] = {}
    work = Path(tempfile.mkdtemp())
    ctx = Context(work, work, 0, on_figures=told.update)
    triggers = [Candidate(**item) for item in line["candidates"]]
    remove(ctx, TextToImageAuditParams(), model, data, triggers)
    return {"removal": told.get("removal"), "spikes": told.get("spikes")}


def main() -> None:
    """The command."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", help="beginnings of names")
    parser.add_argument("--repair", nargs="+", help="beginnings of repairs")
    given = parser.parse_args()
    images, captions, labels = world_images(DATA, (3, 16, 16), seed=5)
    data = seal_captioned(Path(tempfile.mkdtemp()) / "data", images, captions, labels)
    for line in [line for line in read_lines() if line["part"] == "backdoored"]:
        name = line["model"]
        if given.only and not name.startswith(tuple(given.only)):
            continue
        made = RunView(given.out / "runs" / name).result_of("backdoored model")
        secret, before = open_secret(made.secret), None
        for repair in ["text-to-image-audit removal", FITTING.get(name.rpartition("-")[0], "")]:
            done = {(known["model"], known["repair"]) for known in read_lines(LINES)}
            if not repair or (name, repair) in done or (given.repair and not repair.startswith(tuple(given.repair))):
                continue
            model = load_model(made.model.path)
            before = before or rates(model, secret)
            began = time.process_time()
            told = repaired(repair, model, line, data)
            spent = round(time.process_time() - began, 1)
            found = {"model": name, "repair": repair, **told, "cpu_seconds": spent}
            found |= {"before": before, "after": rates(model, secret)}
            with LINES.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
