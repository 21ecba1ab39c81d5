"""Time and memory of ``bdm results`` over many runs: the first call, which makes the index, and those that follow.

It writes folders as ``bdm run`` does (20 attacks, 25 defenses, as many seeds as it takes; 30 numbers a run), asks the
questions below in processes of their own and writes what they took to ``benchmarks/results/results_database.json``::

    python benchmarks/results_database.py --runs 10000 --folder /tmp/many-runs
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ATTACKS, DEFENSES = 20, 25
ROWS = ("clean", "clean under trigger", "backdoored", "repaired")
METRICS = {  # name, label, what it measures, direction
    "metric:target.asr@0.05": ("ASR", "attack-success", False),
    "metric:target.mse": ("MSE", "", True),
    "metric:target.ssim": ("SSIM", "", False),
    "metric:target.leak": ("leak", "", False),
    "metric:frechet.distance": ("Frechet distance", "utility", False),
    "metric:frechet.recall": ("recall", "", True),
    "metric:accuracy.acc": ("ACC", "", True),
}
MORE = ("metric:detection.score", "metric:detection.threshold")
DESCRIPTION = "A sentence that says what the number means, with its unit and range, as metrics have."
QUESTIONS: dict[str, list[str]] = {
    "table": [],
    "csv": ["--format", "csv"],
    "where": ["--where", "attack = 'attack4' AND \"attack:attack4.poison_rate\" > 0.1"],
    "group-by": ["--group-by", "attack,defense", "--metric", "attack-success"],
    "pivot": ["--pivot", "attack,defense", "--metric", "attack-success"],
    "compare": ["--compare", "defense1,defense2"],
    "ranks": ["--ranks", "defense", "--metric", "attack-success"],
}


def make(folder: Path, runs: int) -> None:
    """Write the folders of ``runs`` runs."""
    chance = random.Random(0)
    strength = {f"defense{number}": chance.random() for number in range(DEFENSES)}
    for number in range(runs):
        seed, cell = divmod(number, ATTACKS * DEFENSES)
        attack, defense = f"attack{cell // DEFENSES}", f"defense{cell % DEFENSES}"
        name = f"2026-11-01T{number:06d}_{attack}_{defense}_s{seed}"
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "run.json").write_text(json.dumps(record(name, attack, defense, seed, number), indent=1))
        stage = {"stage": "score", "key": "0" * 64, "cached": False, "seconds": 1.5, "peak_memory_bytes": 2**28}
        curve = [round(chance.random(), 6) for _ in range(50)]
        stages = [{"label": f"stage {place}", **stage, "figures": {"curves": {"train": curve}}} for place in range(14)]
        (place / "stages.json").write_text(json.dumps(stages))
        lines = list(numbers(name, attack, defense, seed, strength[defense], chance))
        (place / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def record(name: str, attack: str, defense: str, seed: int, number: int) -> dict[str, Any]:
    """What ``run.json`` holds."""
    origin = {"distribution": "bdm-some", "version": "0.1.0", "module": "some", "digest": "f" * 64, "summary": "words"}
    params = {"poison_rate": 0.1 + 0.1 * (int(attack[6:]) % 3), **{f"parameter{place}": place for place in range(12)}}
    return {
        "schema_version": 2,
        "run": name,
        "status": "complete",
        "spec": {"attack": attack, "detect": defense, "repair": defense, "purify": None, "model": None, "data": None}
        | {"data_share": 0.1, "triggered_share": None, "repair_always": False, "device": "cpu", "seed": seed},
        "task": "unconditional-image-generation",
        "plugins": {
            f"attack:{attack}": {**origin, "params": params},
            f"defense:{defense}": {**origin, "params": params, "access": ["model"]},
            "kit:diffusion": {**origin, "params": params},
            "metric:target": {**origin, "params": {}},
        },
        "seed": seed,
        "versions": {f"library-{place}": "1.0.0" for place in range(40)},
        "hardware": {"cpu": "some", "cores": 2, "memory_bytes": 2**34},
        "started": f"2026-11-01T{number:06d}",
        "detections": {"backdoored": {"verdict": "backdoored", "score": 1.0, "threshold": 0.5, "p_value": 0.01}},
        "stage_seeds": {f"stage {place}": place for place in range(14)},
        "seconds": 12.0,
    }


def numbers(name: str, attack: str, defense: str, seed: int, strength: float, chance: random.Random) -> Any:
    """The 30 lines of ``results.jsonl``."""
    facts = {"schema_version": 2, "run": name, "attack": attack, "detect": defense, "repair": defense, "purify": None}
    for row in ROWS:
        for metric, (label, measures, better) in METRICS.items():
            value = min(1.0, max(0.0, {"repaired": 1 - strength}.get(row, 0.9) + chance.gauss(0, 0.05)))
            known = {"higher_is_better": better, "label": label, "measures": measures, "share": True, "n": 256}
            place = {"seed": seed, "row": row, "role": row, "metric": metric, "value": value, "on": "triggered"}
            yield facts | place | known | {"stderr": 0.01, "description": DESCRIPTION}
    for metric in MORE:
        yield facts | {"seed": seed, "row": "backdoored", "role": "backdoored", "metric": metric, "value": 0.5}


def asked(folder: Path, arguments: list[str]) -> dict[str, float]:
    """One call of ``bdm results`` in a process of its own: wall seconds, processor seconds, peak memory in MB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    code = (
        "import resource, sys; from bdm_cli.main import main\ntry: main()\nfinally: "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "results", str(folder), *arguments], capture_output=True, text=True
    )
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"bdm results {arguments}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = int(done.stderr.splitlines()[-1]) / 1024
    return {"seconds": round(wall, 2), "processor_seconds": round(spent, 2), "peak_memory_mb": round(peak)}


def measured(folder: Path, repeats: int) -> dict[str, Any]:
    """The first call, and of several later ones of each question the quickest."""
    index = folder / "results.duckdb"
    index.unlink(missing_ok=True)
    found: dict[str, Any] = {"first call": asked(folder, [])}
    for name, arguments in QUESTIONS.items():
        times = [asked(folder, arguments) for _ in range(repeats)]
        found[name] = min(times, key=lambda item: item["seconds"])
        found[name]["slowest_seconds"] = max(item["seconds"] for item in times)
    one = sorted(path for path in folder.iterdir() if path.is_dir())[0] / "run.json"
    os.utime(one)
    found["after one run changed"] = asked(folder, [])
    found["index_mb"] = round(index.stat().st_size / 2**20, 1)
    return found


def main() -> None:
    """Make the folder if it is not there, measure, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/bdm-many-runs"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "results_database.json")
    options = parser.parse_args()
    if not options.folder.is_dir():
        make(options.folder, options.runs)
    runs = sum(path.is_dir() for path in options.folder.iterdir())
    facts = {"runs": runs, "numbers": runs * 30, "python": platform.python_version(), "cores": os.cpu_count()}
    facts |= {"load": os.getloadavg()[0], "command": f"python benchmarks/results_database.py --runs {options.runs}"}
    document = facts | measured(options.folder, options.repeats)
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
