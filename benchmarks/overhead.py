"""How much the framework costs: wall time of a cold run over the bare time of its forward and backward passes.

`python benchmarks/overhead.py` runs ``bdm run --attack villan --defense elijah`` in a process that counts every call of
the network (input shape, with or without gradient, weights trained or frozen), then times these passes in plain loops,
``--rounds`` times over, and compares. Of each kind of pass the median of its fastest round counts, so that other load
on the machine makes the ratio worse, not better. The result goes to ``benchmarks/results/overhead.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
COUNTING = """
import atexit, json, sys
from collections import Counter
counts = Counter()
import builtins
path = sys.argv.pop(1)
def install():
    import torch
    from diffusers import UNet2DModel
    plain = UNet2DModel.forward
    def forward(self, sample, *args, **kwargs):
        trained = next(self.parameters()).requires_grad
        gradient = torch.is_grad_enabled() and (trained or sample.requires_grad)
        counts[(tuple(sample.shape), gradient, trained and gradient)] += 1
        return plain(self, sample, *args, **kwargs)
    UNet2DModel.forward = forward
plain_import = builtins.__import__
def importing(name, *args, **kwargs):
    module = plain_import(name, *args, **kwargs)
    if "diffusers.models.unets.unet_2d" in sys.modules and not getattr(builtins, "_bdm_counted", False):
        if hasattr(sys.modules["diffusers.models.unets.unet_2d"], "UNet2DModel"):
            builtins._bdm_counted = True
            install()
    return module
builtins.__import__ = importing
atexit.register(lambda: open(path, "w").write(json.dumps([[list(k[0]), k[1], k[2], n] for k, n in counts.items()])))
from bdm_cli.main import main
main()
"""


Passes = Counter[tuple[tuple[int, ...], bool, bool]]
"""How often a pass was made: input shape, with gradient, with gradient of the weights."""


def bare_seconds(counts: Passes, repeats: int, rounds: int) -> tuple[float, list[dict[str, Any]]]:
    """Time the same passes in plain loops; the sum in seconds, and one entry for each kind of pass."""
    import torch
    from diffusers import UNet2DModel

    from bdm_kit_diffusion.references import BUILTIN

    network = UNet2DModel.from_pretrained(BUILTIN / "digits-ddpm" / "unet", use_safetensors=True)
    kinds = sorted(counts, key=lambda kind: -counts[kind])
    fastest = {kind: float("inf") for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            shape, gradient, trained = kind
            network.requires_grad_(trained)
            sample = torch.randn(shape, requires_grad=gradient and not trained)
            steps = torch.randint(0, 50, (shape[0],))
            seconds = []
            for _ in range(repeats + 2):
                start = time.perf_counter()
                if gradient:
                    network(sample, steps).sample.square().mean().backward()
                    network.zero_grad()
                else:
                    with torch.inference_mode():
                        network(sample, steps)
                seconds.append(time.perf_counter() - start)
            fastest[kind] = min(fastest[kind], statistics.median(seconds[2:]))
    entries = [
        {"shape": shape, "backward": gradient, "weights": trained, "calls": counts[shape, gradient, trained],
         "milliseconds": round(1000 * fastest[shape, gradient, trained], 3)}
        for shape, gradient, trained in kinds
    ]  # fmt: skip
    return sum(fastest[kind] * counts[kind] for kind in kinds), entries


def main() -> None:
    """Run, count, repeat, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-overhead"))
    parser.add_argument("--repeats", type=int, default=12, help="passes of a kind in a round")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")  # as the command line does
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    counted = arguments.work / "counts.json"
    command = [sys.executable, "-c", COUNTING, str(counted), "run", "--attack", "villan", "--defense", "elijah",
               "--out", str(arguments.work / "out"), "--quiet"]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    counts: Passes = Counter(
        {(tuple(shape), grad, train): n for shape, grad, train, n in json.loads(counted.read_text())}
    )
    bare, entries = bare_seconds(counts, arguments.repeats, arguments.rounds)
    result = {"wall_seconds": round(wall, 1), "bare_seconds": round(bare, 1), "ratio": round(wall / bare, 3),
              "passes": entries}  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "overhead.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"wall {wall:.1f} s, bare passes {bare:.1f} s, ratio {wall / bare:.3f} (must: at most 1.15)")
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
