"""What a sweep costs beside its stages, and how well two workers share the work; with stages that sleep.

The toy plugins of ``tests/toy`` run, and every stage sleeps first, within the time that is recorded for it; so the
figures say nothing of how many cores there are. Two measurements:

* ``efficiency``: time with one worker over twice the time with two, for the same work.
* ``overhead``: 500 cells (10 attacks, 5 defenses, 10 seeds): processor time of the sweep's own process (planning
  included) over the stages' time, its highest memory, and how much of the workers' time was not spent in stages.

    python benchmarks/sweeping.py [--part efficiency|overhead] [--seconds 0.5] [--workers 8]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TOY = Path(__file__).parent.parent / "tests" / "toy"
SLEEPING = """
import os, time
from bdm_core.run.job import Job
call = Job.call
def sleeping(self, ctx, inputs):
    time.sleep(float(os.environ["BDM_SLEEP"]))
    return call(self, ctx, inputs)
Job.call = sleeping
"""
DEFENSES = ["toy", "toy-rows", "toy-filter", "toy-black-box", "toy-trainer"]
OPTIONS = {"device": "cpu", "data_share": 0.5}


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("efficiency", "overhead"), action="append")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each stage sleeps")
    parser.add_argument("--workers", type=int, default=8, help="of the overhead's measurement")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SLEEPING, encoding="utf-8")
        sys.path[:0] = [str(folder / "site"), str(TOY)]
        os.environ["BDM_SLEEP"] = str(options.seconds)
        parts = {"efficiency": efficiency, "overhead": overhead}
        found = {part: parts[part](folder, options.workers) for part in options.part or parts}
    print(json.dumps({"sleep_seconds": options.seconds, **found}, indent=1))


def efficiency(folder: Path, workers: int) -> dict[str, Any]:
    """Two workers over one. Each is measured from the first stage to the last, start of the workers included."""
    plan = {"attacks": attacks(4), "defenses": DEFENSES[:2], "seeds": [0], "options": OPTIONS}
    times = {count: swept(plan, folder / f"efficiency{count}", count)["seconds"] for count in (1, 2)}
    return {"one_worker": times[1], "two_workers": times[2], "efficiency": times[1] / (2 * times[2])}


def overhead(folder: Path, workers: int) -> dict[str, Any]:
    """500 cells."""
    plan = {"attacks": attacks(10), "defenses": DEFENSES, "seeds": list(range(10)), "options": OPTIONS}
    before = own_seconds()
    found = swept(plan, folder / "overhead", workers)
    own = own_seconds() - before
    return {
        **found,
        "workers": workers,
        "own_processor_seconds": round(own, 2),
        "own_over_stages": own / found["stage_seconds"],
        "own_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "workers_time_outside_stages": 1 - found["stage_seconds"] / (workers * found["seconds"]),
    }


def attacks(count: int) -> list[dict[str, Any]]:
    """Attacks that differ in the trigger."""
    return [{"name": "toy", "params": {"shift": 8.0 + number}} for number in range(count)]


def swept(plan: dict[str, Any], out: Path, workers: int) -> dict[str, Any]:
    """Run a plan; how long it took and what it did."""
    from bdm_sweep import sweep

    start = time.perf_counter()
    done = sweep(plan, out=out, params={"workers": workers})
    assert not done.failed, done.failed
    return {
        "cells": len(done.complete),
        "stages": done.computed,
        "stage_seconds": done.stage_seconds,
        "seconds": round(done.seconds, 2),
        "with_planning": round(time.perf_counter() - start, 2),
    }


def own_seconds() -> float:
    """Processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
