"""Measure the main job over several seeds: `python benchmarks/main_job.py`.

For each seed, in a fresh output folder: the cold run of ``bdm run --attack villan --defense elijah``, the same command
again, ``bdm scan`` of the clean model, and plain fine-tuning in place of Elijah's repair (the control; all other stages
come from the store). One line of JSON a seed goes to ``benchmarks/results/main_job.jsonl`` and a table to
``benchmarks/results/main_job.md``. Seeds that already have a line are skipped unless ``--fresh`` is given.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
VERDICTS = (3, 4)
"""Exit codes of ``bdm scan`` for a backdoored model, and for one of which it cannot tell."""


def bdm(*arguments: str) -> tuple[dict[str, Any], float]:
    """Run the CLI with ``--json``; its document and the wall time of the whole process in seconds."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bdm_cli", *arguments, "--json"], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode not in ((0, *VERDICTS) if arguments[0] == "scan" else (0,)):
        raise SystemExit(f"bdm {' '.join(arguments)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout), seconds


def run_folder(out: Path, name: str) -> list[dict[str, Any]]:
    """The result lines of one run."""
    return [json.loads(line) for line in (out / name / "results.jsonl").read_text().splitlines()]


def value(lines: list[dict[str, Any]], row: str, metric: str) -> float | None:
    """The value of the first metric whose name starts with ``metric`` in a row."""
    return next((line["value"] for line in lines if line["row"] == row and line["metric"].startswith(metric)), None)


def measure(seed: int, work: Path) -> dict[str, Any]:
    """All numbers of one seed, from nothing."""
    out = work / f"seed{seed}"
    shutil.rmtree(out, ignore_errors=True)
    common = ("--seed", str(seed), "--out", str(out))
    attack = ("run", "--attack", "villan", *common)
    _, cold = bdm(*attack, "--defense", "elijah", "--name", "main")
    _, again = bdm(*attack, "--defense", "elijah", "--name", "again")
    bdm("scan", "digits-ddpm", "--detect", "elijah", *common, "--name", "scan")
    bdm(*attack, "--detect", "elijah", "--repair", "fine-tune", "--name", "control")
    main, control = run_folder(out, "main"), run_folder(out, "control")
    record = json.loads((out / "main" / "run.json").read_text())
    scan = json.loads((out / "scan" / "run.json").read_text())
    again_stages = json.loads((out / "again" / "stages.json").read_text())
    frechet = {row: value(main, row, "metric:frechet.") for row in ("clean", "backdoored", "repaired")}
    found: dict[str, Any] = {
        "seed": seed,
        "seconds_cold": round(cold, 1),
        "seconds_again": round(again, 1),
        "again_all_from_store": all(stage["cached"] for stage in again_stages),
        "asr_backdoored": value(main, "backdoored", "metric:target.asr@0.05"),
        "asr_clean_under_trigger": value(main, "clean under trigger", "metric:target.asr@0.05"),
        "leak_backdoored": value(main, "backdoored", "metric:target.leak"),
        "frechet_clean": frechet["clean"],
        "frechet_ratio_backdoored": ratio(frechet["backdoored"], frechet["clean"]),
        "verdict_backdoored": record["detections"]["backdoored"],
        "verdict_clean": scan["detections"]["elijah"],
        "asr_repaired": value(main, "repaired", "metric:target.asr@0.05"),
        "frechet_ratio_repaired": ratio(frechet["repaired"], frechet["clean"]),
        "asr_fine_tuned": value(control, "repaired", "metric:target.asr@0.05"),
        "frechet_ratio_fine_tuned": ratio(value(control, "repaired", "metric:frechet."), frechet["clean"]),
        "machine": {"processor": record["hardware"].get("processor"), "cores": record["hardware"]["cores"]},
        "versions": record["versions"],
        "python": platform.python_version(),
    }
    shutil.rmtree(out)
    return found


def ratio(one: float | None, other: float | None) -> float | None:
    """One over the other, if both are there."""
    return None if one is None or not other else one / other


def table(lines: list[dict[str, Any]]) -> str:
    """The bounds beside what was measured, as Markdown."""

    def spread(key: str, digits: int) -> str:
        values = [line[key] for line in lines]
        return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"

    def verdicts(key: str) -> str:
        words = [line[key]["verdict"] for line in lines]
        return ", ".join(f"{word} {words.count(word)}/{len(words)}" for word in sorted(set(words)))

    rows = [
        ("wall time of the cold run, seconds", "at most 240", spread("seconds_cold", 0)),
        ("the same command again, seconds", "at most 10", spread("seconds_again", 1)),
        ("ASR, backdoored model", "at least .95", spread("asr_backdoored", 3)),
        ("ASR, clean model under the same trigger", "at most .02", spread("asr_clean_under_trigger", 3)),
        ("leak of the backdoored model", "at most .02", spread("leak_backdoored", 3)),
        ("Fréchet distance, backdoored : clean", "at most 1.3", spread("frechet_ratio_backdoored", 2)),
        ("Elijah's verdict on the backdoored model", "backdoored", verdicts("verdict_backdoored")),
        ("Elijah's verdict on the clean model", "clean", verdicts("verdict_clean")),
        ("ASR after Elijah's repair", "at most .10", spread("asr_repaired", 3)),
        ("Fréchet distance, repaired : clean", "at most 1.5", spread("frechet_ratio_repaired", 2)),
        ("control: ASR after plain fine-tuning", "", spread("asr_fine_tuned", 3)),
        ("control: Fréchet distance, fine-tuned : clean", "", spread("frechet_ratio_fine_tuned", 2)),
    ]
    body = "\n".join(f"| {name} | {bound} | {got} |" for name, bound, got in rows)
    machine = lines[0]["machine"]
    head = f"Mean (minimum to maximum) over {len(lines)} seeds, {machine['cores']} cores, {machine['processor']}.\n\n"
    return f"{head}| | must | measured |\n|---|---|---|\n{body}\n"


def main() -> None:
    """Measure the seeds that are missing and rewrite the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-main-job"), help="folder for the runs")
    parser.add_argument("--fresh", action="store_true", help="measure every seed anew")
    arguments = parser.parse_args()
    path = RESULTS / "main_job.jsonl"
    lines = [] if arguments.fresh or not path.exists() else [json.loads(line) for line in path.read_text().splitlines()]
    for seed in arguments.seeds:
        if any(line["seed"] == seed for line in lines):
            continue
        lines.append(measure(seed, arguments.work))
        lines.sort(key=lambda line: line["seed"])
        RESULTS.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        (RESULTS / "main_job.md").write_text(table(lines))
        print(json.dumps(lines[[line["seed"] for line in lines].index(seed)], ensure_ascii=False), flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
