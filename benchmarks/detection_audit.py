"""reference-audit over the wide population: `python benchmarks/detection_audit.py --part test`.

Every model is made (:mod:`detection_making`), compared with its base, and judged with the calibration that is shipped;
a line of JSON for each goes to ``benchmarks/results/detection-PART.jsonl``, with the features, so that a rule can be
tried without measuring again. What has a line is skipped. `--calibration` writes the shipped calibration from the
lines of the calibration part.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from detection import RESULTS, read_lines
from detection_making import FACTS, TRIGGER, make
from detection_population import SMALL, Member, make_base
from detection_wide import PARTS, TAKEN, spares_of, success, wide_population

from bdm_core.records import Detection
from bdm_defense_reference_audit.audit import audit, cosine
from bdm_defense_reference_audit.detection import CALIBRATED, decide, response_facts
from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_defense_reference_audit.reference import kinship, no_parent
from bdm_kit_diffusion.models.coverage import out_of_reach, traits_of
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model
from bdm_torch.calibration_file import Calibration, ModelRecord
from bdm_torch.tensors import read_tensors

PARAMS = ReferenceAuditParams()
SEED = 5000
"""The seed of a comparison is the model's and this."""


def results_of(part: str) -> Path:
    """Where a part's lines are."""
    return RESULTS.with_name(f"detection-{part}.jsonl")


def measure(member: Member, folder: Path, stranger: Path | None = None) -> dict[str, Any]:
    """One model's line; ``stranger`` is a model to give as reference in place of its parent."""
    start = time.perf_counter()
    suspect = load_model(make(member, folder))
    reference = load_model(stranger or make_base(member.base, folder))
    line = facts_of(member, folder, suspect) | {"kinship": kinship(suspect, reference)}
    known = CALIBRATED.read()
    outside = out_of_reach("reference-audit", suspect, known)
    refused = no_parent(suspect, reference, member.base)
    if refused:
        line["detection"] = found(0.0, PARAMS.least_score, None, refused)
        return line | {"seconds": round(time.perf_counter() - start, 1)}
    result = audit(Pair(suspect, reference, member.seed + SEED), PARAMS)
    line["features"] = result.features
    line["clearest"] = result.clearest.shift.origin
    line["judged"] = [response_facts(item) for item in result.judged]
    if (folder / member.name / TRIGGER).is_file():
        trigger = read_tensors(folder / member.name / TRIGGER)["trigger"]
        line["recovery"] = {"cosine": cosine(result.chosen.shift.tensor, trigger)}
    if member.half != "calibration":
        line["detection"] = judged(result.features, known, outside)
    return line | {"seconds": round(time.perf_counter() - start, 1)}


def facts_of(member: Member, folder: Path, model: DiffusionModel) -> dict[str, Any]:
    """What a line says of the model itself."""
    made = json.loads((folder / member.name / FACTS).read_text(encoding="utf-8"))
    return {
        "model": member.name,
        "base": member.base,
        "group": member.group,
        "half": member.half,
        "part": member.half,
        "kind": member.kind,
        "parent": member.parent,
        "defense": "reference-audit",
        "settings": member.settings,
        "shape": list(model.shape),
        "traits": traits_of(model),
        "metrics": {key.replace("metric:target.", ""): value for key, value in made.get("metrics", {}).items()},
    }


def judged(features: list[float], known: Calibration, outside: str = "") -> dict[str, Any]:
    """The verdict on features; ``outside`` is why the calibration does not cover the model."""
    verdict, doubt = decide(features, known, PARAMS)
    return found(verdict.score, verdict.threshold, verdict.p_value, outside or doubt)


def found(score: float, threshold: float, p_value: float | None, doubt: str) -> dict[str, Any]:
    """A detection as a line has it."""
    record = Detection(
        level="model",
        scores=[score],
        threshold=threshold,
        p_value=None if doubt else p_value,
        conclusive=not doubt,
        note=doubt,
    )
    return {
        "verdict": record.verdict,
        "level": "model",
        "score": score,
        "threshold": threshold,
        "p_value": record.p_value,
        "conclusive": record.conclusive,
        "note": doubt,
    }


def write_calibration() -> None:
    """The shipped calibration, from the lines of the calibration part whose reference is their parent."""
    records = [
        ModelRecord(name=line["model"], shape=line["shape"], features=line["features"], traits=line["traits"])
        for line in read_lines(results_of("calibration"))
        if line["group"] == "clean" and line["parent"] and "features" in line
    ]
    recipe = (
        "python benchmarks/detection_audit.py --part calibration && python benchmarks/detection_audit.py --calibration"
    )
    file = Calibration(recipe=recipe, configuration=CALIBRATED.configuration(PARAMS), records=records)
    CALIBRATED.shipped.write_text(file.model_dump_json(indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure what has no line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, default="test")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-detection"))
    parser.add_argument("--made", action="store_true", help="only models that are there already")
    parser.add_argument("--turn", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="every N-th, from I")
    parser.add_argument("--calibration", action="store_true", help="write the shipped calibration and end")
    given = parser.parse_args()
    if given.calibration:
        write_calibration()
        return
    folder, results = given.work / "models", results_of(given.part)
    make_base(SMALL, folder)
    for member in wide_population(given.part)[given.turn[0] :: given.turn[1]]:
        for tried in (member, *spares_of(member)):
            if given.made and not (folder / tried.name / FACTS).is_file():
                break
            if took(line_of(tried, folder, results)):
                break
        others = [item for part in (given.part, "test") for item in wide_population(part)]
        stranger = next(item for item in others if item.kind == "from-scratch")
        if given.part == "calibration" or member.base != SMALL or not member.parent:
            continue
        name = f"{member.name}, a stranger as reference"
        if (folder / stranger.name).is_dir() and name not in {line["model"] for line in read_lines(results)}:
            write(measure(member, folder, folder / stranger.name) | {"model": name, "parent": False}, results)


def line_of(member: Member, folder: Path, results: Path) -> dict[str, Any]:
    """The line that there is, or a new one."""
    known = {line["model"]: line for line in read_lines(results)}
    if member.name in known:
        return known[member.name]
    line = measure(member, folder)
    if member.half == "fifth":
        line["took"] = took(line)
    write(line, results)
    print(member.name, line.get("features"), line.get("detection", {}).get("verdict"), flush=True)
    return line


def took(line: dict[str, Any]) -> bool:
    """Whether the model's backdoor took, see :mod:`detection_wide`; a clean model needs none."""
    return line["group"] == "clean" or success(line["metrics"]) >= TAKEN


def write(line: dict[str, Any], results: Path) -> None:
    """Add a line to a file."""
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
