"""Whether the way from pictures to the judge's scores loses anything: `python benchmarks/judge_stand_in.py`.

`bdm run` of an attack with the metrics `attributes` and `judge`. Behind the judge's endpoint, a real server on this
machine, stands no multimodal model but a stand-in: it makes questions of a caption from the words of the small world,
and answers those on a picture, which it gets as a PNG, by the classifier of attributes. So ASR must be that of
`attributes`, and the agreement (Cohen's kappa) 1; ACC and PSR are means over questions. Both metrics' numbers and the
requests go to ``benchmarks/results/judge_stand_in.json``. They say nothing of real models.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_kit_text_to_image.world.factors import BACKGROUNDS, COLOURS, OBJECTS
from bdm_language_model.testing import Response, ScriptedEndpoint

RESULTS = Path(__file__).parent / "results" / "judge_stand_in.json"
COMPARED = ("attributes", "judge")


def named(text: str) -> dict[str, str]:
    """The attributes that the words of a text name.

    >>> named('Does the first picture show this: "green star"?'), named("Is there a white background?")
    ({'object': 'star', 'colour': 'green'}, {'background': 'white'})
    """
    found = {}
    for attribute, values, pattern in (
        ("object", OBJECTS, r"\b{}\b"),
        ("colour", COLOURS, r"\b{}\b"),
        ("background", BACKGROUNDS, r"\b{} background\b"),
    ):
        for value in values:
            if re.search(pattern.format(value), text):
                found[attribute] = value
    return found


def questions(caption: str) -> list[dict[str, str]]:
    """A question on each attribute that the caption names, as the judge asks for them."""
    labels = named(caption)
    thing = labels.get("object", "thing")
    found = [{"about": thing, "kind": "object", "text": f"Is there a {thing}?"}] if "object" in labels else []
    if "colour" in labels:
        found.append({"about": thing, "kind": "attribute", "text": f"Is there something {labels['colour']}?"})
    if "background" in labels:
        found.append({"about": "picture", "kind": "place", "text": f"Is there a {labels['background']} background?"})
    return found


def stand_in() -> Callable[[dict[str, Any], int], Response]:
    """What answers the endpoint's requests."""
    classifier = load_attribute_classifier()

    def respond(body: dict[str, Any], number: int) -> Response:
        content = body["messages"][1]["content"]
        if body["response_format"]["json_schema"]["name"] == "Questions":
            found = questions(json.loads(content[0]["text"].removeprefix("Caption: ")))
            return Response(json.dumps({"questions": found}))
        encoded = content[0]["image_url"]["url"].partition(",")[2]
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
            pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1
        seen = {name: values[0] for name, values in classifier.predict(pixels).items()}
        asked = [named(json.loads(line.partition(". ")[2])) for line in content[-1]["text"].splitlines()[1:]]
        said = ["cannot tell" if not wanted else "yes" if wanted.items() <= seen.items() else "no" for wanted in asked]
        answers = [{"number": place, "answer": answer} for place, answer in enumerate(said, 1)]
        return Response(json.dumps({"answers": answers}))

    return respond


def measured(folder: Path, attack: str, seed: int) -> dict[str, Any]:
    """Run and read what both metrics say of each row, and what the judge asked."""
    with ScriptedEndpoint(stand_in()) as endpoint:
        command = [str(Path(sys.executable).with_name("bdm")), "run", "--task", "text-to-image", "--attack", attack]
        command += ["--defense", "none", "--seed", str(seed), "--out", str(folder), "--name", "judged", "-q"]
        command += [part for name in COMPARED for part in ("--metric", name)]
        for name, value in {"base_url": endpoint.url, "model": "stand-in", "cache": folder / "answers"}.items():
            command += ["--set", f"metric:judge.{name}={value}"]
        subprocess.run(command, check=True)
    return {"attack": attack, "seed": seed, **read(folder / "judged")}


def read(run: Path) -> dict[str, Any]:
    """What both metrics say of each row of a run, and what the judge asked."""
    rows: dict[str, Any] = {}
    for line in (run / "results.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        told = rows.setdefault(record["row"], {})
        told[record["metric"].removeprefix("metric:")] = {key: record[key] for key in ("value", "n")}
    stages = json.loads((run / "stages.json").read_text(encoding="utf-8"))
    usage = {stage["label"]: stage["figures"]["judge"] for stage in stages if "judge" in (stage.get("figures") or {})}
    return {"rows": rows, "requests": usage}


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attack", default="eviledit")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), given.attack, given.seed)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found["requests"]))


if __name__ == "__main__":
    main()
