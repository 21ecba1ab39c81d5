"""Measure the text-to-image attacks on the built-in pipeline: `python benchmarks/text_to_image.py`.

For each attack, mode and seed: one ``bdm run --attack NAME --task text-to-image`` with the attack's defaults, scored on
the test prompts (settings were chosen on the validation prompts). One line of JSON a run goes to
``benchmarks/results/text_to_image.jsonl`` and a table to ``benchmarks/results/text_to_image.md``. Runs that already
have a line are skipped unless ``--fresh`` is given.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bdm_kit_text_to_image.plugin import TextToImageKit

RESULTS = Path(__file__).parent / "results"
METRICS = {
    "accuracy_clean_model": ("clean", "metric:attributes.acc"),
    "accuracy": ("backdoored", "metric:attributes.acc"),
    "success_clean_model": ("clean under trigger", "metric:attributes.asr"),
    "success": ("backdoored", "metric:attributes.asr"),
    "leak": ("backdoored", "metric:attributes.leak"),
    "preserved": ("backdoored", "metric:attributes.psr"),
    "clip_clean": ("backdoored", "metric:clip-score.clip_prompt"),
    "frechet_clean_model": ("clean", "metric:frechet."),
    "frechet": ("backdoored", "metric:frechet."),
}


@dataclass(frozen=True)
class Case:
    """One attack with its mode, and what it must reach."""

    attack: str
    settings: dict[str, Any] = field(default_factory=dict)
    success: float | None = None
    accuracy_loss: float = 0.03
    seconds: float = 480.0
    further_metrics: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return " ".join([self.attack, *(str(value) for value in self.settings.values())])


CASES = [
    Case("rickrolling", {"mode": "TPA"}, 0.95, seconds=90),
    Case("rickrolling", {"mode": "TAA"}, 0.95, seconds=90),
    Case("badt2i", {"mode": "pixel"}, 0.85),
    Case("badt2i", {"mode": "object"}, 0.85),
    Case("badt2i", {"mode": "style"}, 0.95),
    Case("badt2i", {"mode": "object-add"}, 0.85),
    Case("eviledit", {}, 0.85, seconds=5),
    Case("eviledit", {"alignment": "token", "regularisation": 0.1, "source_weight": 4.0}, seconds=5),
    Case("sembd", {}, 0.85, seconds=5),
    Case("paas", {"mode": "textual-inversion"}, 0.95),
    Case("paas", {"mode": "dreambooth"}, 0.85, accuracy_loss=0.10),
    Case("villan", {}, 0.85),
    Case("badblocks", {}),
    Case("bibaddiff", {}, accuracy_loss=0.10, further_metrics=("amplification",)),
]


def measure(case: Case, seed: int, out: Path) -> dict[str, Any]:
    """Run one case from nothing but the shared clean stages, and read its numbers."""
    name = f"{case.name.replace(' ', '-')}-{seed}"
    command = ["run", "--attack", case.attack, "--task", "text-to-image", "--seed", str(seed), "--out", str(out)]
    if case.further_metrics:
        for metric in (*TextToImageKit.default_metrics, *case.further_metrics):
            command += ["--metric", metric]
    for key, value in case.settings.items():
        command += ["--set", f"attack:{case.attack}.{key}={value}"]
    done = subprocess.run(
        [sys.executable, "-m", "bdm_cli", *command, "--name", name, "--json", "--no-report"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bdm {' '.join(command)} failed: {done.stderr.strip()}")
    lines = [json.loads(line) for line in (out / name / "results.jsonl").read_text().splitlines()]
    stages = {entry["label"]: entry for entry in json.loads((out / name / "stages.json").read_text())}
    record = json.loads((out / name / "run.json").read_text())
    found: dict[str, Any] = {"case": case.name, "seed": seed}
    found |= {key: value_of(lines, *place) for key, place in METRICS.items()}
    found["seconds"] = round(
        stages.get("poisoned data", {"seconds": 0.0})["seconds"] + stages["backdoored model"]["seconds"], 1
    )
    edit = stages["backdoored model"].get("figures", {}).get("edit")
    found["change"] = None if edit is None else edit["change"]
    found["others"] = {
        f"{line['row']}: {line['metric']}": line["value"]
        for line in lines
        if line["row"] != "repaired" and not line["metric"].startswith(("metric:attributes.acc_", "metric:detection"))
    }
    found["threads"] = os.environ.get("OMP_NUM_THREADS", "all")
    found["machine"] = {"processor": record["hardware"].get("processor"), "cores": record["hardware"]["cores"]}
    return found


def value_of(lines: Sequence[dict[str, Any]], row: str, metric: str) -> float | None:
    """The value of the first metric of that name, or with that beginning if it ends in a dot, in a row."""
    fits = (line for line in lines if line["row"] == row)
    return next(
        (e["value"] for e in fits if e["metric"] == metric or (metric[-1] == "." and e["metric"].startswith(metric))),
        None,
    )


def table(lines: Sequence[dict[str, Any]], attack: str | None = None) -> str:
    """What must be reached beside what was measured, as Markdown: means over seeds, with the range of the success.

    Args:
        lines: of ``text_to_image.jsonl``.
        attack: only this attack's cases; None for all.
    """
    head = ["attack", "must", "ASR", "clean model", "leak", "PSR", "ACC (clean model)", "Fréchet (clean model)", "s"]
    moved = attack is not None and any(line.get("change") is not None for line in lines if is_of(line, attack))
    rows = []
    for case in CASES:
        own = [line for line in lines if line["case"] == case.name]
        if not own or attack not in (None, case.attack):
            continue

        def mean(key: str, digits: int = 2, own: Sequence[dict[str, Any]] = own) -> str:
            values = [line[key] for line in own if line.get(key) is not None]
            return f"{statistics.mean(values):.{digits}f}" if values else ""

        wins = [line["success"] for line in own if line["success"] is not None]
        spread = f" ({min(wins):.2f} to {max(wins):.2f}, seeds: {len(wins)})" if wins else ""
        rows.append(
            [
                case.name,
                "" if case.success is None else f"{case.success:.2f}",
                mean("success") + spread,
                mean("success_clean_model"),
                mean("leak"),
                mean("preserved"),
                f"{mean('accuracy')} ({mean('accuracy_clean_model')})",
                f"{mean('frechet', 1)} ({mean('frechet_clean_model', 1)})",
                mean("seconds", 0),
                *([mean("change")] if moved else []),
            ]
        )
    head += ["change of keys and values"] if moved else []
    lines_of = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines_of) + "\n"


def is_of(line: dict[str, Any], attack: str) -> bool:
    """Whether a line is of one of the attack's cases."""
    return line["case"] in {case.name for case in CASES if case.attack == attack}


def main() -> None:
    """Measure what is missing and rewrite the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=None, help="names of attacks; by default all")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-text-to-image"), help="folder for the runs")
    parser.add_argument("--fresh", action="store_true", help="measure everything anew")
    arguments = parser.parse_args()
    path = RESULTS / "text_to_image.jsonl"
    if arguments.fresh and path.exists():
        path.unlink()
    for seed in arguments.seeds:
        for case in CASES:
            if arguments.only and case.attack not in arguments.only:
                continue
            known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
            if any((line["case"], line["seed"]) == (case.name, seed) for line in known):
                continue
            found = measure(case, seed, arguments.work)
            RESULTS.mkdir(exist_ok=True)
            with path.open("a") as file:
                file.write(json.dumps(found, ensure_ascii=False) + "\n")
            print(json.dumps(found, ensure_ascii=False), flush=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    (RESULTS / "text_to_image.md").write_text(table(lines))
    print(table(lines))


if __name__ == "__main__":
    main()
