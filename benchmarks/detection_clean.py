"""p-values of held-out clean models: `python benchmarks/detection_clean.py`.

A p-value is what the detector gives now, with the calibration that it ships, to a clean model of the test half of
:mod:`detection_population`, which no calibration holds. The scores of elijah and diff-cleanse are those of
``results/detection.jsonl``; of terd's two features the lines there hold one score only, so that this script makes the
models again and writes the features to ``results/detection-clean.jsonl``; what has a line is skipped. Models that the
calibration does not cover get no p-value.

`--calibration` writes the calibration that diff-cleanse ships, from its scores of the calibration half.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detection import RESULTS, read_lines
from detection_population import SMALL, clean_members, make_base, make_clean

from bdm_defense_diff_cleanse.detection import CALIBRATED as DIFF_CLEANSE
from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_defense_elijah.decision import CALIBRATED as ELIJAH
from bdm_defense_elijah.params import ElijahParams
from bdm_defense_terd.decision import CALIBRATED as TERD
from bdm_defense_terd.decision import decide
from bdm_defense_terd.params import TerdParams
from bdm_torch.calibration import conformal
from bdm_torch.calibration_file import Calibrated, Calibration, ModelRecord

FEATURES = RESULTS.with_name("detection-clean.jsonl")
PIXELS = {"noise": "variance preserving", "space": "pixels"}
KINDS: Mapping[str, tuple[tuple[int, int, int], dict[str, str]]] = {
    SMALL: ((1, 8, 8), PIXELS),
    "digits-ddpm": ((1, 8, 8), PIXELS),
    "digits-ve": ((1, 8, 8), {**PIXELS, "noise": "variance exploding"}),
    "shapes-ddpm": ((3, 16, 16), PIXELS),
    "shapes-ldm": ((4, 8, 8), {**PIXELS, "space": "latents"}),
}
"""Shape and traits of the models of each base."""
OWN = "retrained, colour"
"""The one clean model of 3x8x8 that diff-cleanse was calibrated with before; it keeps it, to cover the shape."""


def covered(detector: Calibrated, base: str) -> bool:
    """Whether the shipped calibration covers models of a base."""
    return not detector.read().outside(*KINDS[base])


def p_values(defense: str) -> list[float]:
    """What a detector gives the clean models of the test half now, as far as its calibration covers them."""
    if defense == "terd":
        lines = [line for line in read_lines(FEATURES) if line["defense"] == defense and covered(TERD, line["base"])]
        known, rate = TERD.read(), TerdParams().false_positive_rate
        return [decide(tuple(line["features"]), known, rate).p_value for line in lines]
    detector = {"elijah": ELIJAH, "diff-cleanse": DIFF_CLEANSE}[defense]
    clean, rate = detector.read().column(), ElijahParams().false_positive_rate
    scores = [line["detection"]["score"] for line in clean_lines(defense, "test") if covered(detector, line["base"])]
    return [conformal(score, clean, rate).p_value for score in scores]


def clean_lines(defense: str, half: str) -> list[dict[str, Any]]:
    """The lines of clean models of one half of the population with a detection by ``defense``."""
    return [
        line
        for line in read_lines()
        if line["defense"] == defense and line["group"] == "clean" and line["half"] == half and line.get("detection")
    ]


def write_calibration() -> None:
    """The calibration of diff-cleanse, from the calibration half."""
    own = [record for record in DIFF_CLEANSE.read().records if record.name == OWN]
    records = []
    for line in clean_lines("diff-cleanse", "calibration"):
        shape, traits = KINDS[line["base"]]
        features = [line["detection"]["score"]]
        records.append(ModelRecord(name=line["model"], shape=shape, features=features, traits=traits))
    recipe = (
        "python benchmarks/detection.py --defenses diff-cleanse && python benchmarks/detection_clean.py --calibration; "
        f"{OWN!r}: python -m bdm_defense_diff_cleanse.calibrate --builtin 8"
    )
    file = Calibration(
        recipe=recipe, configuration=DIFF_CLEANSE.configuration(DiffCleanseParams()), records=records + own
    )
    DIFF_CLEANSE.shipped.write_text(file.model_dump_json(indent=1) + "\n", encoding="utf-8")


def measure(work: Path) -> None:
    """terd's features of the clean models of the test half that have no line."""
    from bdm_kit_diffusion.inversion.pair_search import search
    from bdm_kit_diffusion.models.diffusion_model import load_model

    make_base(SMALL, work)
    counts = {base: count for base, count in {SMALL: 40, "digits-ddpm": 8}.items() if covered(TERD, base)}
    for member in clean_members(counts):
        if member.half != "test" or member.name in {line["model"] for line in read_lines(FEATURES)}:
            continue
        found = search(load_model(make_clean(member, work)), TerdParams(), member.seed).chosen.features
        line = {"model": member.name, "base": member.base, "half": member.half, "defense": "terd", "features": found}
        with FEATURES.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(member.name, *found, flush=True)


def main() -> None:
    """Measure what has no line, or write the calibration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-detection/models"))
    parser.add_argument("--calibration", action="store_true", help="write diff-cleanse's calibration and end")
    given = parser.parse_args()
    if given.calibration:
        write_calibration()
    else:
        measure(given.work)


if __name__ == "__main__":
    main()
