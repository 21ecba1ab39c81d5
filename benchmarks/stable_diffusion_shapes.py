"""The text-to-image metrics and defenses on Stable Diffusion 1.5 at its own widths: random weights, two steps.

`python benchmarks/stable_diffusion_shapes.py WORK`. The cases are those of the kit's
``test_plugins_on_a_released_layout.py``, whose model has the release's files and small widths; here all tensors have
the release's shapes (860 million parameters in the UNet), only pictures are 128 pixels wide for want of time. Each case
is a process of its own; a line of JSON goes to ``benchmarks/results/stable_diffusion_shapes.jsonl``: passed or the
error, processor seconds and the most memory. Cases that passed are not run again; ``--page`` writes
``docs/benchmarks/stable-diffusion-shapes.md`` from the lines.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import swept
import torch
from detection_numbers import markdown
from text_to_image_memory import write_full_size

ROOT = Path(__file__).parents[1]
CASES = ROOT / "plugins/text-to-image/bdm-kit-text-to-image/tests/test_plugins_on_a_released_layout.py"
RESULTS = Path(__file__).parent / "results" / "stable_diffusion_shapes.jsonl"
PAGE = ROOT / "docs" / "benchmarks" / "stable-diffusion-shapes.md"
SIDE = 16
"""Of the latents: an eighth of the pictures' side."""
KINDS = ("metric", "defense")


def cases_module() -> Any:
    """The test module that has the cases."""
    spec = importlib.util.spec_from_file_location("released_cases", CASES)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_lines() -> list[dict[str, Any]]:
    """The lines that there are, the last one of each case."""
    return list({(line["kind"], line["case"]): line for line in swept.read_lines(RESULTS)}.values())


def write_model(work: Path) -> Path:
    """The folder that all cases share."""
    folder = work / "released"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_full_size(folder, torch.float16)
        path = folder / "unet" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "sample_size": SIDE}))
        (folder / "complete").touch()
    return folder


def run_case(work: Path, kind: str, name: str, more: dict[str, Any]) -> None:
    """One case in this process."""
    from bdm_kit_text_to_image import TASK
    from bdm_kit_text_to_image.plugin import TextToImageKit

    torch.set_num_threads(1)
    module, root = cases_module(), work / "case"
    shutil.rmtree(root, ignore_errors=True)
    bench = module.ReleaseBench(root, TextToImageKit(), TASK, {"prompts": 4, "most_images": 32, "steps": 2})
    shutil.copytree(work / "released", bench.root / module.FOLDER, copy_function=os.link)
    (bench.root / module.FOLDER / "complete").unlink()
    line: dict[str, Any] = {"kind": kind, "case": "-".join([name, *map(str, more)]), "error": ""}
    try:
        getattr(module, f"test_{kind}")(bench, name, more)
    except Exception as error:  # any error of any plugin is this benchmark's result
        traceback.print_exc()
        line["error"] = f"{type(error).__name__}: {error}"[:500]
    used = resource.getrusage(resource.RUSAGE_SELF)
    line |= {"cpu_seconds": round(used.ru_utime + used.ru_stime), "memory_gb": round(used.ru_maxrss / 2**20, 1)}
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)
    shutil.rmtree(root, ignore_errors=True)


def page() -> str:
    """The text of the page."""
    lines = read_lines()
    passed = sum(not line["error"] for line in lines)
    rows = [["", "plugin", "result", "CPU s", "GB at most"]]
    for line in sorted(lines, key=lambda item: (item["kind"], item["case"])):
        result = line["error"] or "runs"
        rows.append([line["kind"], f"`{line['case']}`", result, str(line["cpu_seconds"]), f"{line['memory_gb']:.1f}"])
    head = (
        "# Text-to-image plugins at Stable Diffusion's own widths\n\n"
        "Metrics, analyses and defenses on a folder of Stable Diffusion 1.5 whose tensors have the released\n"
        "shapes (random weights, two sampling steps, pictures of 128 pixels), and the variants that go another\n"
        "way through the model: all that are installed but the metrics `judge`, `cost` and `detection`, which do\n"
        f"not run the model, and the defense `none`. That shows that they run, not what they find. {passed} of\n"
        f"{len(lines)} cases that were run pass.\n\n"
        "Pictures of 128 pixels have latents of side 16. What looks at attention takes the maps of side 16: here\n"
        "those of the outermost level, of 320 channels, where pictures of 512 pixels have latents of side 64 and\n"
        "take the maps two levels further in, of 1280 channels. So time and memory of full-size pictures, and\n"
        "that level, were not tried; [the kit](../../plugins/text-to-image/bdm-kit-text-to-image/README.md) has\n"
        "what sampling and training need there.\n\n"
        "`python benchmarks/stable_diffusion_shapes.py WORK` runs them on one core; WORK needs 20 GB.\n\n"
    )
    return head + markdown(rows) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, nargs="?")
    parser.add_argument("--only", nargs="+", help="beginnings of cases")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if given.case:
        kind, name, more = given.case
        run_case(given.work, kind, name, json.loads(more))
        return
    if given.work is not None:
        work = given.work.absolute()
        work.mkdir(parents=True, exist_ok=True)
        write_model(work)
        module = cases_module()
        for kind in KINDS:
            for case in module.cases(kind):
                name, more = case.values
                label = "-".join([name, *map(str, more)])
                done = {(line["kind"], line["case"]) for line in read_lines() if not line["error"]}
                if (kind, label) in done or (given.only and not label.startswith(tuple(given.only))):
                    continue
                command = [sys.executable, __file__, str(work), "--case", kind, name, json.dumps(more)]
                subprocess.run(command, check=False, stderr=subprocess.STDOUT)
    if given.page or given.work is not None:
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
