"""How often `classifier-audit` is right: `python benchmarks/classifier_audit.py POPULATION`.

POPULATION is a folder of :mod:`classifier_population`; backdoored models are those of a sweep, `--attacks RUNS`. Every
model is measured once, on the reserve of its data, and has a line in results/classifier_audit.jsonl; what has one is
skipped. `--calibration` writes the calibration that the detector ships from the lines of that part; `--page` prints
the tables of its README.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from classifier_population import PARTS

from bdm_core.files import read_json
from bdm_defense_classifier_audit.audit import audit
from bdm_defense_classifier_audit.decision import CALIBRATED, decide, leads
from bdm_defense_classifier_audit.detection import LEAST_ACCURACY
from bdm_defense_classifier_audit.params import ClassifierAuditParams
from bdm_kit_classification.catalogue import BUILTIN_DATA
from bdm_kit_classification.data.samples import RESERVE, LabelledSamples, open_samples
from bdm_kit_classification.models.image_classifiers import open_image_classifier
from bdm_kit_classification.recipes.clean_model import open_data
from bdm_kit_classification.training.fitting import accuracy
from bdm_torch.calibration_file import Calibration, ModelRecord
from bdm_torch.statistics import exact_interval

RESULTS = Path(__file__).parent / "results" / "classifier_audit.jsonl"
RECIPE = (
    "python benchmarks/classifier_population.py OUT --part calibration; "
    "python benchmarks/classifier_audit.py OUT --part calibration; python benchmarks/classifier_audit.py --calibration"
)
LEAST_SUCCESS = 0.5
"""A model whose backdoor works less often is none."""


def clean_models(population: Path, part: str) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Name, folder and facts of the clean members of a part."""
    for folder in sorted((population / part).glob("*[0-9]")):
        kind, seed = folder.name.rsplit("-", 1)[0], int(folder.name.rsplit("-", 1)[1])
        yield folder.name, folder, {"part": part, "kind": kind, "seed": seed, "attack": None}


def backdoored_models(runs: Path, part: str) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Name, folder and facts of the backdoored models of a sweep: those of seed 2 belong to the third part."""
    for place in sorted(runs.glob("*/results.jsonl")):
        record = read_json(place.with_name("run.json"))
        spec = record["spec"]
        if record["status"] != "complete" or (spec["seed"] == 2) != (part == "third"):
            continue
        rows = [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]
        success = [row["value"] for row in rows if row["role"] == "backdoored" and row["metric"].endswith(".asr")]
        key = next(
            stage["key"] for stage in read_json(place.with_name("stages.json")) if stage["label"] == "backdoored model"
        )
        folder = runs / "store" / "inject-backdoor" / key[:2] / key / "model"
        data = read_json(folder / "config.json")["trained_on"]
        facts = {"part": part, "attack": spec["attack"], "seed": spec["seed"], "asr": success[0]}
        yield f"{spec['attack']}-{data}-{spec['seed']}", folder, facts


def measure(name: str, folder: Path, facts: dict[str, Any], opened: dict[str, LabelledSamples]) -> dict[str, Any]:
    """The line of one model."""
    classifier = open_image_classifier(folder)
    data = classifier.trained_on
    if data not in opened:
        work = Path(tempfile.mkdtemp())
        opened[data] = open_samples(open_data(data, BUILTIN_DATA[data], work), RESERVE)
    start = time.process_time()
    found = audit(classifier, opened[data], ClassifierAuditParams(), seed=0)
    seconds = round(time.process_time() - start, 2)
    right = round(accuracy(classifier, opened[data]), 4)
    values = {measure: [float(f"{value:.4g}") for value in each] for measure, each in found.values.items()}
    return {"model": name, **facts, "data": data, "accuracy": right, "cpu_seconds": seconds, "values": values}


def read_lines() -> list[dict[str, Any]]:
    """All lines."""
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()] if RESULTS.exists() else []


def write_calibration() -> None:
    """The calibration of the detector, from the clean models of its part that know their data."""
    records = [
        ModelRecord(
            name=line["model"],
            shape=BUILTIN_DATA[line["data"]],
            features=[round(lead.size, 4) for lead in leads(line["values"])],
            traits={"classes": "10 classes"},
        )
        for line in read_lines()
        if line["part"] == "calibration" and line["accuracy"] >= LEAST_ACCURACY
    ]
    file = Calibration(recipe=RECIPE, configuration=CALIBRATED.configuration(ClassifierAuditParams()), records=records)
    CALIBRATED.shipped.write_text(file.model_dump_json(indent=1) + "\n", encoding="utf-8")


def verdict_of(line: dict[str, Any], known: Calibration) -> str:
    """What the detector says of a model: backdoored, clean, or cannot tell."""
    verdict = decide(leads(line["values"]), known, ClassifierAuditParams().false_positive_rate)
    if line["accuracy"] < LEAST_ACCURACY or verdict.doubt:
        return "cannot tell"
    return "backdoored" if verdict.backdoored else "clean"


def page() -> str:
    """Tables: clean models by part, backdoored ones by attack and part."""
    known, lines = CALIBRATED.read(), read_lines()
    text = [
        "| models | part | n | backdoored | clean | cannot tell | share called backdoored |",
        "|---|---|---|---|---|---|---|",
    ]
    for part in PARTS[1:]:
        own = [line for line in lines if line["part"] == part]
        groups: dict[str, list[dict[str, Any]]] = {"clean": [line for line in own if line["attack"] is None]}
        for line in own:
            if line["attack"] is not None and line["asr"] >= LEAST_SUCCESS:
                groups.setdefault("backdoored, all", []).append(line)
                groups.setdefault(line["attack"], []).append(line)
        for name, group in groups.items():
            if group:
                said = [verdict_of(line, known) for line in group]
                hits = said.count("backdoored")
                low, high = exact_interval(hits, len(said))
                counts = " | ".join(str(said.count(word)) for word in ("backdoored", "clean", "cannot tell"))
                interval = f"{hits / len(said):.2f} ({low:.2f} to {high:.2f})"
                text.append(f"| {name} | {part} | {len(said)} | {counts} | {interval} |")
    return "\n".join(text)


def main() -> None:
    """The command."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("population", type=Path, nargs="?")
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--attacks", type=Path, help="the folder of a sweep of attacks")
    parser.add_argument("--calibration", action="store_true")
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    done, opened = {line["model"] for line in read_lines()}, dict[str, LabelledSamples]()
    members = list(clean_models(given.population, given.part)) if given.population else []
    members += list(backdoored_models(given.attacks, given.part)) if given.attacks else []
    for name, folder, facts in members:
        if name not in done:
            done.add(name)
            line = measure(name, folder, facts, opened)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(name, line["cpu_seconds"], flush=True)
    if given.calibration:
        write_calibration()
    if given.page:
        print(page())


if __name__ == "__main__":
    main()
