"""Triggers in the initial latents: `python benchmarks/text_to_image_latent.py OUT --part further test`.

`elijah` and `terd` as shipped, by `bdm scan`, on the clean models of `text_to_image_population.py` that their
calibration does not hold, and by ``--runs FOLDER ...`` on folders of runs of `villan-image`, or of any other attack.
One line of JSON a model and detector goes to ``benchmarks/results/text_to_image_latent.jsonl``; what has a line is not
scanned again. The page is ``docs/benchmarks/text-to-image-latent.md``; ``--page`` writes it from the lines there are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from detection_numbers import markdown, share
from swept import Line, read_lines
from text_to_image_population import PARTS

RESULTS = Path(__file__).parent / "results" / "text_to_image_latent.jsonl"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "text-to-image-latent.md"
DETECTORS = ("elijah", "terd")
LATENT = "villan-image"
"""The attack whose trigger lies in the latents."""


def members(given: argparse.Namespace) -> Iterator[tuple[str, str, Path]]:
    """Part, name and folder of the models that were asked for."""
    for part in given.part:
        for folder in sorted((given.out / part).glob("*/model_index.json")):
            yield part, folder.parent.name, folder.parent
    for folder in given.runs:
        spec = json.loads((folder / "run.json").read_text(encoding="utf-8"))["spec"]
        mode = spec["params"].get(f"attack:{spec['attack']}", {}).get("mode")
        yield "backdoored", "-".join(map(str, [spec["attack"], *([mode] if mode else []), spec["seed"]])), folder


def scanned(folder: Path, detectors: Sequence[str], out: Path) -> list[dict[str, Any]]:
    """What each detector says of a model."""
    command = [str(Path(sys.executable).with_name("bdm")), "scan", str(folder), "--task", "text-to-image"]
    for name in detectors:
        command += ["--detect", name]
    done = subprocess.run([*command, "--json", "-q", "--no-report", "--out", str(out)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{folder}: {done.stderr.strip()}")
    checked: list[dict[str, Any]] = json.loads(done.stdout)["checked"]
    return checked


def measure(given: argparse.Namespace) -> None:
    """A line for each model and detector that has none."""
    known = {(line["part"], line["model"], line["detector"]) for line in read_lines(RESULTS)}
    for part, name, folder in members(given):
        wanted = [detector for detector in DETECTORS if (part, name, detector) not in known]
        for found in scanned(folder, wanted, given.out / "scans") if wanted else []:
            kept = {key: found[key] for key in ("verdict", "score", "threshold", "p_value", "note", "seconds")}
            line = {"part": part, "model": name, "detector": found["detector"], **kept}
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            print(json.dumps(line), flush=True)


def groups(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Clean models, those with a trigger in the latents, and those with another one."""
    backdoored = [line for line in lines if line["part"] == "backdoored"]
    return {
        "clean, not in the calibration": [line for line in lines if line["part"] != "backdoored"],
        f"backdoored by `{LATENT}`": [line for line in backdoored if line["model"].startswith(LATENT)],
        "backdoored by a trigger in prompts": [line for line in backdoored if not line["model"].startswith(LATENT)],
    }


def summary(lines: Sequence[Line]) -> str:
    """Verdicts of each group."""
    rows = [["detector", "models", "number", "called backdoored", "called clean", "cannot tell"]]
    for detector in DETECTORS:
        for name, group in groups([line for line in lines if line["detector"] == detector]).items():
            if not group:
                continue
            said = [line["verdict"] for line in group]
            shares = [share([word == verdict for word in said]) for verdict in ("backdoored", "clean")]
            rest = share([word not in ("backdoored", "clean") for word in said])
            rows.append([detector, name, str(len(group)), *shares, rest])
    return markdown(rows)


def every(lines: Sequence[Line]) -> str:
    """Score and verdict of each model."""
    rows = [["model", "part", *(f"{name}: score / threshold, verdict" for name in DETECTORS)]]
    for part, model in dict.fromkeys((line["part"], line["model"]) for line in lines):
        own = {line["detector"]: line for line in lines if (line["part"], line["model"]) == (part, model)}
        cells = [
            f"{own[name]['score']:.2f} / {own[name]['threshold']:.2f}, {own[name]['verdict']}" if name in own else ""
            for name in DETECTORS
        ]
        rows.append([model, part, *cells])
    return markdown(rows)


TEXT = """# Triggers in the initial latents of text-to-image models

`elijah` and `terd` with what they ship, by `bdm scan` (seed 0), on clean models of
`benchmarks/text_to_image_population.py` that their calibration does not hold; backdoored ones by `--runs`, and in
[text-to-image-defenses.md](text-to-image-defenses.md). Neither looks for triggers in prompts; `text-to-image-audit`
does. Shares with exact 95 % intervals.

How the calibrations were set. Both had ten models at first. Of TERD the first two held-out ones, 8-bits and both-100,
had scores of 6.2 and 5.6 over a threshold of 3.2, and "cannot tell", since its objective is flat there: the start
U(0,1) had won, and V_r was .019, where the ten had .009 to .013. Eight models (the part `further`) were added to its
calibration, one of which has .020, and the two were scanned again. Elijah's threshold had been 1.42; it was set to 2
before a held-out model was scanned, as clean models of an earlier population had scored up to 1.65.

{summary}

{every}

Written by `python benchmarks/text_to_image_latent.py --page` from `benchmarks/results/text_to_image_latent.jsonl`.
"""


def write_page(lines: Sequence[Line]) -> Path:
    """The page from lines."""
    PAGE.write_text(TEXT.format(summary=summary(lines), every=every(lines)), encoding="utf-8")
    return PAGE


def main() -> None:
    """Scan what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/benchmark-text-to-image-latent"))
    parser.add_argument("--part", nargs="+", choices=PARTS, default=[], help="of the clean models")
    parser.add_argument("--runs", nargs="+", type=Path, default=[], help="folders of runs of attacks")
    parser.add_argument("--page", action="store_true", help="scan nothing, write the page")
    given = parser.parse_args()
    if not given.page:
        measure(given)
    print(f"written: {write_page(read_lines(RESULTS))}")


if __name__ == "__main__":
    main()
