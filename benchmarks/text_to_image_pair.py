"""How long a text-to-image pair takes with default scores and all analyses: `python benchmarks/text_to_image_pair.py`.

`bdm run` of an attack, a defense, the scores that a run has without being asked, and every analysis, from nothing, in a
folder that is new. Wall seconds of the whole command, its exit code and the stages go to
``benchmarks/results/text_to_image_pair.json``; at most 360 seconds are asked for on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "text_to_image_pair.json"
ANALYSES = ("assimilation", "activation-norm", "pre-activation", "trajectory", "latent-map")
MOST = 360
"""Seconds."""


def defaults(task: str) -> list[str]:
    """The scores that a run of the task has by default."""
    from bdm_core.discovery.candidates import find

    kit = find("kit", "text-to-image", task).load()
    return list(kit.default_metrics)  # type: ignore[union-attr]


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attack", default="eviledit")
    parser.add_argument("--defense", default="text-to-image-audit")
    given = parser.parse_args()
    names = [*defaults("text-to-image"), *ANALYSES]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("bdm")), "run", "--task", "text-to-image"]
        command += ["--attack", given.attack, "--defense", given.defense, "--out", folder, "--name", "pair", "-q"]
        command += [part for name in names for part in ("--metric", name)]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        stages = json.loads((Path(folder) / "pair" / "stages.json").read_text(encoding="utf-8"))
    found = {
        "attack": given.attack,
        "defense": given.defense,
        "metrics": names,
        "exit_code": done.returncode,
        "seconds": round(seconds, 1),
        "must": MOST,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[1],
        "stages": {f"{stage['label']}": round(stage.get("seconds") or 0.0, 1) for stage in stages},
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: found[key] for key in ("exit_code", "seconds", "must")}), done.stderr[-500:])


if __name__ == "__main__":
    main()
