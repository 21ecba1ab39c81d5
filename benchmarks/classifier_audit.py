"""How often `classifier-audit` is right: `python benchmarks/classifier_audit.py POPULATION`.

POPULATION is a folder of :mod:`classifier_population`; backdoored models are those of a folder of runs, `--attacks
RUNS`: for the parts `test` and `third` a sweep of `plans/classifier-attacks.yaml` (when it had twenty attacks), for the
fourth all runs in it. Every model is measured once, on the reserve of its data, and has a line in
results/classifier_audit.jsonl, the baseline of each data set too; what has one is skipped. `--calibration` writes the
calibration that the detector ships from the lines of the first two parts; `--page` prints the tables of its README.
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
from classifier_population import DATA, PARTS

from bdm_core.context import Context
from bdm_core.files import read_json
from bdm_defense_classifier_audit.audit import audit
from bdm_defense_classifier_audit.baseline import trained
from bdm_defense_classifier_audit.decision import CALIBRATED, Values, decide, features_of, leads, of_baseline
from bdm_defense_classifier_audit.detection import BASELINES, LEAST_ACCURACY
from bdm_defense_classifier_audit.measures import Mode
from bdm_defense_classifier_audit.params import ClassifierAuditParams
from bdm_kit_classification.catalogue import BUILTIN_DATA
from bdm_kit_classification.data.samples import RESERVE, LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.models.image_classifiers import open_image_classifier
from bdm_kit_classification.recipes.clean_model import open_data
from bdm_kit_classification.training.fitting import accuracy
from bdm_torch.calibration_file import Calibration, ModelRecord
from bdm_torch.statistics import exact_interval

RESULTS = Path(__file__).parent / "results" / "classifier_audit.jsonl"
RECIPE = (
    "for PART calibration and test: python benchmarks/classifier_population.py OUT --part PART; "
    "python benchmarks/classifier_audit.py OUT --part PART; then python benchmarks/classifier_audit.py --calibration"
)
PUBLIC = (("plain", 101), ("augmented", 100))
"""Kind and seed of models that others are compared with; the calibration has the first."""
KNOWN = ("calibration", "test")
"""Parts whose clean models the shipped calibration has; no other part says how often clean models are called so."""
TEST_SEED = BASELINES
"""Seed of the baseline that models are judged with; those of the calibration are below it."""
LEAST_SUCCESS = 0.5
"""A model whose backdoor works less often is none."""


def clean_models(population: Path, part: str) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Name, folder and facts of the clean members of a part."""
    for folder in sorted((population / part).glob("*[0-9]")):
        kind, seed = folder.name.rsplit("-", 1)[0], int(folder.name.rsplit("-", 1)[1])
        yield folder.name, folder, {"part": part, "kind": kind, "seed": seed, "attack": None}


def backdoored_models(runs: Path, part: str) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Name, folder and facts of the backdoored models of a folder of runs.

    Of a sweep, those of seed 2 belong to the third part and the others to the test part; all belong to the fourth,
    where runs may be links to folders elsewhere.
    """
    for place in sorted(runs.glob("*/results.jsonl")):
        record = read_json(place.with_name("run.json"))
        spec = record["spec"]
        if record["status"] != "complete" or (part != "fourth" and (spec["seed"] == 2) != (part == "third")):
            continue
        rows = [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]
        success = [row["value"] for row in rows if row["role"] == "backdoored" and row["metric"].endswith(".asr")]
        stages = read_json(place.with_name("stages.json"))
        key = next(stage["key"] for stage in stages if stage["label"] == "backdoored model")
        folder = place.parent.resolve().parent / "store" / "inject-backdoor" / key[:2] / key / "model"
        data = read_json(folder / "config.json")["trained_on"]
        facts = {"part": part, "attack": spec["attack"], "seed": spec["seed"], "asr": success[0]}
        if part == "fourth":
            facts["params"] = spec["params"]
        yield f"{spec['attack']}-{data}-{spec['seed']}" + f"-{key[:6]}" * (part == "fourth"), folder, facts


def opened_data(data: str, opened: dict[str, LabelledSamples]) -> LabelledSamples:
    """The reserve of a data set."""
    if data not in opened:
        opened[data] = open_samples(open_data(data, BUILTIN_DATA[data], Path(tempfile.mkdtemp())), RESERVE)
    return opened[data]


def measure(name: str, classifier: Classifier, facts: dict[str, Any], samples: LabelledSamples) -> dict[str, Any]:
    """The line of one model."""
    start = time.process_time()
    found = audit(classifier, samples, ClassifierAuditParams(), seed=0)
    seconds = round(time.process_time() - start, 2)
    right = round(accuracy(classifier, samples), 4)
    values = {measure: [float(f"{value:.4g}") for value in each] for measure, each in found.values.items()}
    return {"model": name, **facts, "accuracy": right, "cpu_seconds": seconds, "values": values}


def measure_baseline(data: str, seed: int, samples: LabelledSamples) -> dict[str, Any]:
    """The line of a baseline of a data set, trained on its reserve."""
    work = Path(tempfile.mkdtemp())
    start = time.process_time()
    baseline = trained(Context(out=work, work=work, seed=seed), samples, ClassifierAuditParams())
    seconds = round(time.process_time() - start, 2)
    facts = {"part": "baseline", "attack": None, "data": data, "seed": seed, "training_cpu_seconds": seconds}
    return measure(f"baseline-{data}-{seed}", baseline, facts, samples)


def read_lines() -> list[dict[str, Any]]:
    """All lines."""
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()] if RESULTS.exists() else []


def calibration_lines() -> list[dict[str, Any]]:
    """The clean models that the detector knows and that know their data."""
    clean = [line for line in read_lines() if line["part"] in KNOWN and line["attack"] is None]
    return [line for line in clean if line["accuracy"] >= LEAST_ACCURACY]


def baselines() -> dict[tuple[str, int], Values]:
    """What a baseline says of the classes, by data and seed."""
    lines = [line for line in read_lines() if line["part"] == "baseline"]
    return {(line["data"], line["seed"]): of_baseline(line["values"]) for line in lines}


def public_models() -> dict[tuple[str, str], Values]:
    """The measures of models that others are compared with, by kind and data."""
    lines = {line["model"]: line for line in read_lines()}
    return {
        (kind, data): lines[f"{kind}-{data}-{seed}"]["values"]
        for kind, seed in PUBLIC
        for data in DATA
        if f"{kind}-{data}-{seed}" in lines
    }


def write_calibration() -> None:
    """The calibration of the detector, as `bdm calibrate` makes it with the public model named first."""
    lines, known = calibration_lines(), baselines()
    records = []
    for place, line in enumerate(lines):
        data = line["data"]
        public = [other for other in lines if other["data"] == data and other["model"] != line["model"]]
        public.sort(key=lambda other: other["model"] != f"{PUBLIC[0][0]}-{data}-{PUBLIC[0][1]}")
        features = features_of(line["values"], known[data, place % BASELINES], public[0]["values"])
        records.append(
            ModelRecord(
                name=line["model"],
                shape=BUILTIN_DATA[data],
                features=[round(size, 4) for size in features],
                traits={"classes": "10 classes"},
            )
        )
    file = Calibration(recipe=RECIPE, configuration=CALIBRATED.configuration(ClassifierAuditParams()), records=records)
    CALIBRATED.shipped.write_text(file.model_dump_json(indent=1) + "\n", encoding="utf-8")


def expectations() -> dict[str, tuple[Mode, dict[str, Values]]]:
    """Names of the rows of the table, their mode, and what is expected of the classes of each data set."""
    known = baselines()
    rows: dict[str, tuple[Mode, dict[str, Values]]] = {
        "pictures": ("pictures", {data: known[data, TEST_SEED] for data in DATA if (data, TEST_SEED) in known})
    }
    public = public_models()
    for kind, _ in PUBLIC:
        rows[f"reference: {kind}"] = (
            "reference",
            {data: of for (own, data), of in public.items() if own == kind},
        )
    return {**rows, "weights only": ("weights", {})}


def verdict_of(line: dict[str, Any], known: Calibration, mode: Mode, expected: dict[str, Values]) -> str:
    """What the detector says of a model: backdoored, clean, or cannot tell."""
    found = leads(line["values"], mode, expected.get(line["data"]))
    verdict = decide(found, mode, known, ClassifierAuditParams().false_positive_rate)
    if mode != "weights" and line["accuracy"] < LEAST_ACCURACY:
        return "cannot tell"
    if verdict.backdoored:
        return "backdoored"
    return "cannot tell" if mode == "weights" or verdict.doubt else "clean"


def row(cells: list[str], said: list[str]) -> str:
    """A line of a table: how often what was said."""
    hits = said.count("backdoored")
    low, high = exact_interval(hits, len(said))
    counts = [str(said.count(word)) for word in ("backdoored", "clean", "cannot tell")]
    interval = f"{hits / len(said):.2f} ({low:.2f} to {high:.2f})"
    return "| " + " | ".join([*cells, str(len(said)), *counts, interval]) + " |"


def head(*names: str) -> list[str]:
    """The first lines of a table."""
    cells = [*names, "n", "backdoored", "clean", "cannot tell", "share called backdoored"]
    return ["| " + " | ".join(cells) + " |", "|" + "---|" * len(cells)]


def page() -> str:
    """Tables: each mode on clean and backdoored models by part; the default mode by attack."""
    known, lines, expected = CALIBRATED.read(), read_lines(), expectations()
    modes, attacks = head("mode", "models", "part"), head("models", "part")
    for part in PARTS[1:]:
        groups: dict[str, list[dict[str, Any]]] = {}
        for line in lines:
            real = line["attack"] is None or line["asr"] >= LEAST_SUCCESS
            if line["part"] == part and real and line["data"] in DATA:
                names = ["clean"] if line["attack"] is None else ["backdoored", line["attack"]]
                for name in names:
                    groups.setdefault(name, []).append(line)
        for title, compared in expected.items():
            for name in ("clean", "backdoored"):
                if group := groups.get(name):
                    modes.append(row([title, name, part], [verdict_of(line, known, *compared) for line in group]))
        for name in sorted(set(groups) - {"clean", "backdoored"}):
            said = [verdict_of(line, known, *expected["pictures"]) for line in groups[name]]
            attacks.append(row([name, part], said))
    return "\n".join([*modes, "", *attacks])


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
        if name in done:
            continue
        classifier = open_image_classifier(folder)
        data = classifier.trained_on
        samples = opened_data(data, opened)
        lines = [measure(name, classifier, {**facts, "data": data}, samples)]
        wanted = range(BASELINES) if facts["part"] in KNOWN else [TEST_SEED]
        lines += [measure_baseline(data, seed, samples) for seed in wanted if f"baseline-{data}-{seed}" not in done]
        done |= {line["model"] for line in lines}
        with RESULTS.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        print(name, lines[0]["cpu_seconds"], flush=True)
    if given.calibration:
        write_calibration()
    if given.page:
        print(page())


if __name__ == "__main__":
    main()
