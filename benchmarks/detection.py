"""Detectors and repairs over a population of small models: `python benchmarks/detection.py`.

Every model of :mod:`detection_population` is judged by every detector of models; two backdoored ones of each class are
also repaired by every defense, and the inputs of one are judged, and it is sampled with every sampler. All blind: one
configuration for all. Each model has a plan of its own and all are one sweep; a line of JSON for each model and defense
goes to ``benchmarks/results/detection.jsonl``. What has a line is skipped, so that the benchmark can be stopped and
given again. `python benchmarks/detection_page.py` writes ``docs/benchmarks/detection.md`` from the lines.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "detection.jsonl"
SECOND = RESULTS.with_name("detection-second.jsonl")
"""Lines of the second population: reference-audit was made with a view to the first."""
THIRD = RESULTS.with_name("detection-third.jsonl")
"""Lines of the third part of the population, opened once: each has its ``part``, ``kind`` and ``parent``."""
FOURTH = RESULTS.with_name("detection-fourth.jsonl")
"""Likewise of the fourth part, for reference-audit as it was improved on what it missed in the third."""
FIFTH = RESULTS.with_name("detection-fifth.jsonl")
"""Likewise of the fifth part, as it was improved on the fourth; each line says whether the backdoor ``took``."""
PAPER = RESULTS.with_name("detection-paper.jsonl")
"""Lines of detectors with their published settings (``--preset paper``): detection only, each line has its preset."""
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {"elijah": {"preset": "paper", "distance": "pixel"}, "terd": {"preset": "paper"}}
}
"""Preset -> detector -> its parameters. The weights of Elijah's published distance, LPIPS, would have to be fetched."""
DEFENSES = ("reference-audit", "elijah", "terd", "fine-tune", "clip", "diff-cleanse", "terd-input", "ufid")
"""Those that judge models do so on all; repairs are on two backdoored ones of every class, inputs judged on one."""
DETECTS = {"reference-audit", "elijah", "terd", "terd-input", "ufid", "diff-cleanse"}
INPUTS = {"terd-input", "ufid"}
REPAIRS = {"reference-audit", "elijah", "terd", "diff-cleanse", "fine-tune", "clip"}
KIT = {"samples": 128}
TASK = "unconditional-image-generation"


def file_of(second: bool, preset: str | None) -> Path:
    """Where the lines go."""
    return PAPER if preset else SECOND if second else RESULTS


def facts_of(view: Any) -> dict[str, Any]:
    """Verdict, recovery of the trigger, and scores before and after the repair."""
    judged = view.record["detections"]
    found: dict[str, Any] = {"detection": judged.get("backdoored") or next(iter(judged.values()), None)}
    found["metrics"] = {
        f"{line['row']}: {line['metric'].partition('.')[2] or line['metric']}": line["value"] for line in view.results
    }
    names = {f"detection by {name}": "detection" for name in judged}  # a scan's stage has the detector's name
    found["stages"] = {names.get(entry["label"], entry["label"]): round(entry["seconds"], 1) for entry in view.stages}
    evidence = evidence_of(view)
    found["recovery"] = recovery(view, evidence)
    found["start_only"] = start_only(evidence)
    return found


def evidence_of(view: Any) -> Any:
    """The evidence of the run's detection; None without one."""
    from bdm_core.records import Detection

    judged = [view.result_of(entry["label"]) for entry in view.stages if entry["stage"] == "detect"]
    return next((item.evidence for item in judged if isinstance(item, Detection) and item.evidence), None)


def start_only(evidence: Any) -> float | None:
    """The score of the detector's own start points, without its optimisation, as its evidence has it."""
    if evidence is None or "features.json" not in evidence.files:
        return None
    value = json.loads(evidence.file("features.json").read_text()).get("baselines", {}).get("start point only")
    items = value if isinstance(value, list) else [value]
    numbers = [item.get("score") if isinstance(item, dict) else item for item in items]
    return max((float(number) for number in numbers if isinstance(number, (int, float))), default=None)


def recovery(view: Any, evidence: Any) -> dict[str, float] | None:
    """Cosine and distance of the inverted trigger and the true one, over the true one's norm; None without both."""
    from bdm_core.records import Backdoored
    from bdm_kit_diffusion.poison.secret import open_secret
    from bdm_torch.tensors import read_tensors

    made = view.result_of("backdoored model")
    if not isinstance(made, Backdoored) or evidence is None or "tensors.safetensors" not in evidence.files:
        return None
    mine = read_tensors(evidence.file("tensors.safetensors")).get("trigger")
    true = open_secret(made.secret).trigger
    if mine is None or mine.shape != true.shape:
        return None
    mine, true = mine.flatten().double(), true.flatten().double()
    scale = float(mine.norm() * true.norm()) or 1.0
    return {"cosine": float(mine @ true) / scale, "distance": float((mine - true).norm() / true.norm())}


def sampler_rows(folder: Path) -> list[dict[str, Any]]:
    """ASR and leak of a backdoor under every sampler."""
    from dataclasses import asdict

    from bdm_kit_diffusion.sampling.sampler_report import open_run, sampler_report

    model, secret = open_run(folder, "cpu")
    return [asdict(row) for row in sampler_report(model, secret, samples=64)]


def read_lines(results: Path = RESULTS) -> list[dict[str, Any]]:
    """The lines that there are."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def main() -> None:
    """Judge every model that has a line missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=0, help="stages at a time, of one thread each; 0: all cores")
    parser.add_argument("--only", nargs="+", default=None, help="names, or beginnings that end with no digit")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-detection"))
    parser.add_argument("--defenses", nargs="+", default=DEFENSES, choices=DEFENSES, help="by default all")
    parser.add_argument("--second", action="store_true", help="the second population, see the page")
    parser.add_argument("--preset", choices=PRESETS, help="detectors with their published settings, detection only")
    parser.add_argument("--fresh", action="store_true", help="with --dry-run: as if there were no lines yet")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and how long it may take")
    given = parser.parse_args()
    if given.preset:
        given.defenses = [name for name in given.defenses if name in PRESETS[given.preset]]
    from detection_plans import measure, say_what_is_missing

    if given.dry_run:
        say_what_is_missing(given)
        return
    RESULTS.parent.mkdir(exist_ok=True)
    measure(given)


if __name__ == "__main__":
    main()
