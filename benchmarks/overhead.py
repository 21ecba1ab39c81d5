"""How much the framework costs: wall time of a cold run over the time of its forward and backward passes.

`python benchmarks/overhead.py` runs ``bdm run --attack villan --defense elijah`` in a process that times every forward
pass of the network and every backward pass from within. So both times come from the same minutes of the same process;
timing the passes apart, in plain loops, gave ratios from 0.93 to 1.27 on a noisy machine, for the same code. What is
not a pass (imports, optimiser, sampler, noise, files, scores, the command line) is overhead. For the CPU; a GPU works
on after a call returns. The result goes to ``benchmarks/results/overhead.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
TIMED = """
import atexit, builtins, json, sys, time
path = sys.argv.pop(1)
spent = {"forward": [0, 0.0], "backward": [0, 0.0]}
def timed(kind, plain):
    def call(*arguments, **options):
        start = time.perf_counter()
        try:
            return plain(*arguments, **options)
        finally:
            spent[kind][0] += 1
            spent[kind][1] += time.perf_counter() - start
    return call
def install():
    import torch
    from diffusers import UNet2DModel
    UNet2DModel.forward = timed("forward", UNet2DModel.forward)
    torch.autograd.graph._engine_run_backward = timed("backward", torch.autograd.graph._engine_run_backward)
    for module in (torch.autograd, torch._tensor, torch.autograd.functional):
        if hasattr(module, "_engine_run_backward"):
            module._engine_run_backward = torch.autograd.graph._engine_run_backward
plain_import = builtins.__import__
def importing(name, *arguments, **options):
    module = plain_import(name, *arguments, **options)
    if "diffusers.models.unets.unet_2d" in sys.modules and not getattr(builtins, "_bdm_timed", False):
        if hasattr(sys.modules["diffusers.models.unets.unet_2d"], "UNet2DModel"):
            builtins._bdm_timed = True
            install()
    return module
builtins.__import__ = importing
atexit.register(lambda: open(path, "w").write(json.dumps(spent)))
from bdm_cli.main import main
main()
"""


def main() -> None:
    """Run, and compare the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-overhead"))
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    runs = []
    for _ in range(arguments.repeats):
        shutil.rmtree(arguments.work, ignore_errors=True)
        arguments.work.mkdir(parents=True)
        times = arguments.work / "times.json"
        command = [
            sys.executable,
            "-c",
            TIMED,
            str(times),
            "run",
            "--attack",
            "villan",
            "--defense",
            "elijah",
            "--out",
            str(arguments.work / "out"),
            "--quiet",
        ]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        spent = json.loads(times.read_text())
        passes = spent["forward"][1] + spent["backward"][1]
        runs.append(
            {
                "wall_seconds": round(wall, 1),
                "pass_seconds": round(passes, 1),
                "ratio": round(wall / passes, 3),
                "forward": {"calls": spent["forward"][0], "seconds": round(spent["forward"][1], 1)},
                "backward": {"calls": spent["backward"][0], "seconds": round(spent["backward"][1], 1)},
            }
        )
        print(f"wall {wall:.1f} s, passes {passes:.1f} s, ratio {wall / passes:.3f} (must: at most 1.08)", flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "overhead.json").write_text(json.dumps(runs, indent=1) + "\n")
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
