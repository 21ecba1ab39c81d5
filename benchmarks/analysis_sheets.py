"""Sheets of the analyses of one run, its clean, backdoored and repaired model side by side.

`python benchmarks/analysis_sheets.py RUN_FOLDER` writes ``docs/analyses/METRIC.png``: a row for each picture of the
metric (the first file of each title, of `neuron-analysis` the last, which is of the deepest layer), a column for each
model. The page ``docs/analyses.md`` has the command that makes the run, and what is to be seen.
"""

from __future__ import annotations

import argparse
import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from bdm_results.view import RunView

FOLDER = Path(__file__).parents[1] / "docs" / "analyses"
METRICS = ("overview", "feature-analysis", "neuron-analysis", "attribution", "boundary", "landscape")
ROWS = ("clean", "backdoored", "repaired")
WIDTH, HEIGHT, LINE, GAP, COLOURS = 360, 240, 16, 10, 128
Pictures = Mapping[str, Any]


def picture_of(pictures: Pictures, title: str, last: bool) -> Image.Image | None:
    """The first picture of a title, or the last, which is that of the deepest layer; None without one."""
    files = pictures.get(title, {}).get("files", [])
    if not files:
        return None
    with Image.open(io.BytesIO(base64.b64decode(files[-1 if last else 0]["png"]))) as opened:
        found = opened.convert("RGB")
    scale = min(WIDTH / found.width, HEIGHT / found.height)
    size = max(1, round(found.width * scale)), max(1, round(found.height * scale))
    return found.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def sheet(view: RunView, metric: str) -> Image.Image:
    """All pictures of a metric."""
    kept = [view.stage(f"score {row}: {metric}")["figures"].get("pictures", {}) for row in ROWS]
    titles = list(dict.fromkeys(title for pictures in kept for title in pictures))
    deepest = metric == "neuron-analysis"
    lines = [(title, [picture_of(pictures, title, deepest) for pictures in kept]) for title in titles]
    heights = [LINE + GAP + max(picture.height for picture in own if picture) for _, own in lines]
    made = Image.new("RGB", (len(ROWS) * (WIDTH + GAP), LINE + sum(heights)), "white")
    draw = ImageDraw.Draw(made)
    for column, row in enumerate(ROWS):
        draw.text((column * (WIDTH + GAP) + 4, 2), row, fill="black")
    top = LINE
    for (title, own), height in zip(lines, heights, strict=True):
        draw.text((4, top + 2), title, fill="black")
        for column, picture in enumerate(own):
            if picture is not None:
                made.paste(picture, (column * (WIDTH + GAP), top + LINE))
        top += height
    return made


def main() -> None:
    """Write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    view = RunView(parser.parse_args().run)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for metric in METRICS:
        path = FOLDER / f"{metric}.png"
        sheet(view, metric).quantize(COLOURS).save(path, optimize=True)
        print(f"written: {path}")


if __name__ == "__main__":
    main()
