"""Measure the detectors of triggered prompts: `python benchmarks/text_to_image_detectors.py --runs runs/attacks`.

``--runs`` is a folder in which ``bdm run --attack ... --task text-to-image --out runs/attacks --name NAME`` left one
run an attack. For each run and detector: the AUROC of the first triggered prompts against their own twins without the
trigger, on the backdoored model and, as a control, on the clean one; the shares flagged at the threshold that the
detector set on clean captions of the model it judges; seconds a prompt. A sentence that is a trigger has no twin: it is
held against other captions with two objects. One line of JSON each goes to
``benchmarks/results/text_to_image_detectors.jsonl``; lines that are there are not measured again without ``--fresh``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.discovery.candidates import find
from bdm_core.plugin import Defense
from bdm_core.run.specification import build_params
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.stages import generate
from bdm_results.view import RunView

RESULTS = Path(__file__).parent / "results" / "text_to_image_detectors.jsonl"
DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "prompt-audit, trusted encoder": ("prompt-audit", {"reference": "small-world", "mismatch_steps": 0}),
    "prompt-audit": ("prompt-audit", {"mismatch_steps": 0}),
    "navit2i, trusted encoder": ("navit2i", {"reference": "small-world"}),
    "daa individual": ("daa", {}),
    "daa individual, reversed": ("daa", {"suspicious": "reversed"}),
    "daa system": ("daa", {"method": "system"}),
    "daa system, reversed, length bias": ("daa", {"method": "system", "suspicious": "reversed", "length_bias": True}),
    "t2ishield ftt": ("t2ishield", {}),
    "t2ishield cda, one-class": ("t2ishield", {"method": "cda"}),
    "temporal-noise": ("temporal-noise", {}),
    "scaling-offset": ("scaling-offset", {}),
    "navit2i": ("navit2i", {}),
    "ufid, appended": ("ufid", {}),
    "ufid, prefixed": ("ufid", {"place": "prefix"}),
}
"""Label -> defense and its parameters."""


def area(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that a positive score is higher than a negative one, ties half."""
    wins = sum((one > other) + 0.5 * (one == other) for one in positive for other in negative)
    return wins / (len(positive) * len(negative))


def judged(defense: Defense, params: Any, model: Model, data: Data, prompts: Sequence[str], seed: int) -> Any:
    """The detection of a defense on prompts, and the seconds it took."""
    from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, seal_prompts

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        suspects = seal_prompts(folder / "suspects", [PromptRow(prompt, seed) for prompt in prompts])
        asked = [0]

        def query(inputs: Data) -> Any:
            asked[0] += 1
            own = Context(folder / f"answer-{asked[0]}", folder / "work", seed)
            own.out.mkdir()
            return generate(own, model, inputs)

        for name in ("out", "work"):
            (folder / name).mkdir()
        ctx = Context(folder / "out", folder / "work", seed, on_query=query)
        offered = {"ctx": ctx, "params": params, "model": model, "data": data, "suspects": suspects}
        names = defense.detect.__code__.co_varnames[1 : defense.detect.__code__.co_argcount]  # type: ignore[attr-defined]
        began = time.perf_counter()
        found = defense.detect(**{name: offered[name] for name in names})  # type: ignore[attr-defined]
        return found, time.perf_counter() - began


def pairs(run: RunView, count: int) -> tuple[list[str], list[str]]:
    """Triggered prompts and what they are held against."""
    from bdm_kit_text_to_image.prompts.captions import load_captions
    from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts
    from bdm_kit_text_to_image.prompts.secret import read_secret

    rows = load_prompts(run.result_of("triggered inputs"))[:count]
    secret = read_secret(run.result_of("backdoored model").secret)
    if secret.triggers[0].kind != "syntax":
        return [row.prompt for row in rows], [str(row.twin) for row in rows]
    captions, labels = load_captions(run.result_of("data"))
    triggered = {row.prompt for row in rows}
    two = [
        caption
        for caption, label in zip(captions, labels, strict=True)
        if label.get("second", "none") != "none" and caption not in triggered
    ]
    return [row.prompt for row in rows], sorted(set(two))[:: max(1, len(set(two)) // count)][:count]


def measure(run: RunView, label: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One line: an attack and a detector."""
    name, settings = DETECTORS[label]
    defense = find("defense", name, TASK).load()
    facts = {"seed": arguments.seed, "pairs": arguments.pairs, "clean_prompts": arguments.clean_prompts}
    params = build_params(defense, {**settings, "clean_prompts": arguments.clean_prompts})
    triggered, twins = pairs(run, arguments.pairs)
    line: dict[str, Any] = {"run": run.folder.name, "detector": label, **facts}
    for role, model in (("backdoored", run.result_of("backdoored model").model), ("clean", run.result_of("model"))):
        found, seconds = judged(defense, params, model, run.result_of("data"), [*triggered, *twins], arguments.seed)
        scores, threshold = found.scores, found.threshold
        positive, negative = scores[: len(triggered)], scores[len(triggered) :]
        line[role] = {
            "auroc": round(area(positive, negative), 4),
            "flagged_triggered": round(sum(score > threshold for score in positive) / len(positive), 4),
            "flagged_twins": round(sum(score > threshold for score in negative) / len(negative), 4),
            "seconds": round(seconds, 1),
            "prompts": len(scores) + found.clean_samples,
        }
    return line


def table(lines: Sequence[dict[str, Any]], of: str = "", runs: Sequence[str] | None = None) -> str:
    """Markdown: AUROC on the backdoored model (on the clean one) / TPR / FPR, a row a detector, a column an attack.

    Args:
        lines: of the results file.
        of: only detectors whose label begins so.
        runs: the columns; None for all, by name.
    """
    columns = list(runs or sorted({line["run"] for line in lines}))
    head = "| detector | " + " | ".join(columns) + " | s a prompt |\n|---|" + "---|" * (len(columns) + 1)
    rows = []
    for label in DETECTORS:
        own = {line["run"]: line for line in lines if line["detector"] == label}
        if not own or not label.startswith(of):
            continue
        cells = []
        for run in columns:
            if run not in own:
                cells.append("")
                continue
            bad, good = own[run]["backdoored"], own[run]["clean"]
            flags = f"{bad['flagged_triggered']:.2f} / {bad['flagged_twins']:.2f}"
            cells.append(f"{bad['auroc']:.2f} ({good['auroc']:.2f}) / {flags}")
        spent = [line[role] for line in own.values() for role in ("backdoored", "clean")]
        cells.append(f"{sum(item['seconds'] for item in spent) / sum(item['prompts'] for item in spent):.2f}")
        rows.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join([head, *rows])


def lines_of(path: Path = RESULTS) -> list[dict[str, Any]]:
    """The lines of the results file; none if there is no such file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder with one run an attack")
    parser.add_argument("--only", nargs="+", help="names of runs; by default all")
    parser.add_argument("--detector", nargs="+", help="beginnings of labels; by default all")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--clean-prompts", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="measure everything anew")
    arguments = parser.parse_args()
    if arguments.fresh:
        RESULTS.unlink(missing_ok=True)
    folders = sorted(path.parent for path in arguments.runs.glob("*/run.json"))
    for label in DETECTORS:
        for folder in folders:
            wanted = not arguments.detector or any(label.startswith(name) for name in arguments.detector)
            wanted = wanted and (not arguments.only or folder.name in arguments.only)
            if not wanted or (folder.name, label) in {(line["run"], line["detector"]) for line in lines_of()}:
                continue
            line = measure(RunView(folder), label, arguments)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
    print(table(lines_of()))


if __name__ == "__main__":
    main()
