"""Does prompt-audit with a public base take texts for triggers on clean fine-tunings of that base?

``python benchmarks/text_to_image_fine_tuned.py RUNS POPULATION``: RUNS is the folder of the runs of
``text_to_image_defenses.py``, POPULATION that of ``text_to_image_population.py``, whose clean models UNET, TEXT, LORA
and BOTH are asked for the same triggered prompts and their twins as each attack's backdoored model was. A line for each
attack, seed and clean model goes to ``benchmarks/results/text_to_image_fine_tuned.jsonl``; what is there is skipped.
The page of ``text_to_image_defenses.py --page`` has the table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from swept import Line, read_lines
from text_to_image_controls import judge, separation
from text_to_image_pairs import FINE_TUNED, LINES, latest

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.discovery.candidates import find
from bdm_core.plugin import Defense
from bdm_core.records import Detection
from bdm_core.run.specification import build_params
from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts, seal_prompts
from bdm_results.view import RunView

MODELS = ("unet-120", "text-120", "lora-8", "both-100")
GIVEN = {"reference": "small-world", "mismatch_steps": 0}


class Judged:
    """A clean model that prompt-audit has judged once, and answers for further prompts.

    Args:
        folder: in diffusers' layout.
        data: of the defender.
        prompts: judged with it.
        work: an empty folder.
    """

    def __init__(self, folder: Path, data: Data, prompts: list[str], work: Path) -> None:
        defense = find("defense", "prompt-audit", "text-to-image").load()
        assert isinstance(defense, Defense)
        self.defense, self.data = defense, data
        self.model: Model = seal_model(load_model(folder), work / "model")
        ctx = Context(work / "out", work / "work", 0)
        ctx.out.mkdir()
        ctx.work.mkdir()
        suspects = seal_prompts(work / "prompts", [PromptRow(prompt, row) for row, prompt in enumerate(prompts)])
        offered: dict[str, Any] = {"model": self.model, "data": data, "suspects": suspects}
        self.detection: Detection = defense.detect(ctx, build_params(defense, GIVEN), **offered)  # type: ignore[attr-defined]

    def __call__(self, prompts: list[str]) -> list[float]:
        """Scores."""
        return judge(self.defense, GIVEN, self.model, self.data, self.detection, prompts)


def wanted() -> list[Line]:
    """The lines of backdoored models that prompt-audit has judged with a base, one an attack and seed."""
    lines = [line for line in latest(read_lines(LINES)) if line["status"] == "complete"]
    return [line for line in lines if line["defense"] == "prompt-audit" and line["defense_params"].get("reference")]


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("population", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the attacks")
    parser.add_argument("--models", nargs="+", default=MODELS, help="names below POPULATION/test")
    given = parser.parse_args()
    known = {(line["run"], line["model"]) for line in read_lines(FINE_TUNED)}
    for name in given.models:
        judged: Judged | None = None
        for line in (line for line in wanted() if line["seed"] in given.seeds and (line["run"], name) not in known):
            if not (given.runs / line["run"]).exists():
                print(f"not in {given.runs}: {line['run']}", flush=True)
                continue
            view = RunView(given.runs / line["run"])
            triggered = [row.prompt for row in load_prompts(view.result_of("triggered inputs"))]
            plain = [row.prompt for row in load_prompts(view.result_of("inputs"))]
            if judged is None:
                place = Path(tempfile.mkdtemp())
                judged = Judged(given.population / "test" / name, view.result_of("defender's data"), plain, place)
            bad, good = judged(triggered), judged(plain)
            limit = judged.detection.threshold
            found = {
                **{key: line[key] for key in ("run", "attack", "params", "seed")},
                "model": name,
                **separation(bad, good),
                "tpr": sum(score > limit for score in bad) / len(bad),
                "fpr": sum(score > limit for score in good) / len(good),
                "auroc_backdoored": line["backdoored"]["auroc"],
            }
            with FINE_TUNED.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            print(found, flush=True)


if __name__ == "__main__":
    main()
