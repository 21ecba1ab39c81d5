"""Measure T2IShield's localisation and edit: `python benchmarks/t2ishield_localisation.py --runs runs/attacks`.

``--runs`` is a folder in which ``bdm run --attack ... --task text-to-image --out runs/attacks --name NAME`` left one
run an attack. For each run and contrast: the share of the first triggered prompts whose localised part holds all of the
trigger, and is exactly it; how much of the prompt that part is; the share of their twins without trigger in which no
part is located; pictures a prompt. With ``--repair``: attack success and accuracy before and after the edit of what was
localised, and of the trigger given by hand, by the attribute classifier. One line of JSON each.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Evidence, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_t2ishield.localisation import locate, painter, prepare
from bdm_defense_t2ishield.mitigation import repair
from bdm_defense_t2ishield.params import T2IShieldParams
from bdm_kit_text_to_image.detection.prompts import FACTS, FORMAT
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_kit_text_to_image.judging.generated import all_shown, asked_for, target_hits
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts
from bdm_kit_text_to_image.prompts.secret import PromptSecret, open_secret
from bdm_results.view import RunView

CONTRASTS = ("none", "seed", "removal", "reference")
REFERENCE = "small-world"


def context(folder: Path, seed: int) -> Context:
    """A stage's context in a folder."""
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True)
    return Context(folder / "out", folder / "work", seed)


def localise(run: RunView, contrast: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One line: an attack and a contrast."""
    rows = load_prompts(run.result_of("triggered inputs"))[: arguments.prompts]
    trigger = open_secret(run.result_of("backdoored model").secret).triggers[0]
    wanted = f"{trigger.text} {trigger.object}" if trigger.kind == "adjective-noun" else trigger.text
    params = T2IShieldParams(contrast=contrast, reference=REFERENCE if contrast == "reference" else "")
    began = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        scorer = painter(
            context(Path(place), arguments.seed), params, load_model(run.result_of("backdoored model").model)
        )
        prompts, twins = [row.prompt for row in rows], [str(row.twin) for row in rows]
        data = run.result_of("data")
        tau = prepare(scorer, params, data, [*prompts, *twins], arguments.seed)
        before = scorer.pictures
        found, plain = locate(scorer, prompts, tau), locate(scorer, twins, tau)
    count = len(rows)
    return {
        "run": run.folder.name,
        "contrast": contrast,
        "least": round(tau, 3),
        "trigger inside": round(sum(wanted in one.text and not one.whole for one in found) / count, 3),
        "exact": round(sum(one.text == wanted for one in found) / count, 3),
        "part of the prompt": round(sum(len(one.text) / len(one.prompt) for one in found) / count, 3),
        "twins without a part": round(sum(one.whole for one in plain) / count, 3),
        "pictures a prompt": round((scorer.pictures - before) / (2 * count), 1),
        "cpu seconds": round(time.process_time() - began, 1),
        "examples": [one.text for one in found[:6]],
    }


def rates(model: Model, secret: PromptSecret, clean: Sequence[PromptRow], bad: Sequence[PromptRow]) -> dict[str, float]:
    """Attack success on triggered prompts, accuracy on clean ones."""
    opened, classifier = load_model(model), load_attribute_classifier()
    shown = []
    for rows in (clean, bad):
        images = generate_images(opened, [row.prompt for row in rows], seeds=[row.seed for row in rows], sampling=HOW)
        shown.append((images, classifier.predict(images)))
    (_, good), (images, hit) = shown
    right = [all_shown(good, index, asked_for(row.labels)) for index, row in enumerate(clean)]
    hits = target_hits(images, hit, secret.targets[0], secret.picture, 0.05)
    return {"asr": round(sum(hits) / len(hits), 3), "acc": round(sum(right) / len(right), 3)}


HOW = Sampling()
REPAIRS: dict[str, dict[str, Any]] = {"localised": {"reference": REFERENCE}, "given": {}}
"""The trigger as it was localised, or given by hand."""


def mitigate(run: RunView, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rates before, after the edit of what was localised, and after that of the trigger itself."""
    answer = run.result_of("backdoored model")
    secret = open_secret(answer.secret)
    bad = load_prompts(run.result_of("triggered inputs"))[: 2 * arguments.prompts]
    clean = load_prompts(run.result_of("inputs"))[: 2 * arguments.prompts]
    trigger = secret.triggers[0]
    known = f"{trigger.text} {trigger.object}" if trigger.kind == "adjective-noun" else trigger.text
    lines = [{"run": run.folder.name, "repair": "none", **rates(answer.model, secret, clean, bad)}]
    for label in arguments.repair:
        settings = {"triggers": [known]} if label == "given" else REPAIRS[label]
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            flagged = [row.prompt for row in bad[: arguments.prompts]]
            record = {"seed": arguments.seed, "prompts": flagged, "scores": [1.0] * len(flagged), "threshold": 0.0}
            (folder / "evidence").mkdir()
            (folder / "evidence" / FACTS).write_text(json.dumps(record), encoding="utf-8")
            evidence = Evidence.seal(folder / "evidence", format=FORMAT, task=answer.model.task)
            detection = Detection(level="input", scores=record["scores"], threshold=0.0, evidence=evidence)
            ctx = context(folder / "stage", arguments.seed)
            began = time.process_time()
            told: dict[str, Any] = {}
            ctx = Context(ctx.out, ctx.work, arguments.seed, on_figures=told.update)
            fixed = repair(ctx, T2IShieldParams(**settings), answer.model, run.result_of("data"), detection)
            spent = round(time.process_time() - began, 1)
            found = rates(fixed, secret, clean, bad)
        lines.append({"run": run.folder.name, "repair": label, **found, "cpu seconds": spent, "figures": told})
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder with one run an attack")
    parser.add_argument("--only", nargs="+", help="names of runs; by default all")
    parser.add_argument("--contrast", nargs="+", default=CONTRASTS)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repair", nargs="*", default=(), choices=tuple(REPAIRS), help="which edits to measure")
    arguments = parser.parse_args()
    for folder in sorted(path.parent for path in arguments.runs.glob("*/run.json")):
        if arguments.only and folder.name not in arguments.only:
            continue
        run = RunView(folder)
        for contrast in arguments.contrast:
            print(json.dumps(localise(run, contrast, arguments)), flush=True)
        for line in mitigate(run, arguments) if arguments.repair else []:
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
