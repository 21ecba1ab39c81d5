"""The former version of `classifier-audit` beside the one that is: `python benchmarks/classifier_audit_former.py`.

It looked for the largest lead of four of the measures, expected nothing of the classes and had the clean models of the
part `calibration`. Both are computed from the same lines of results/classifier_audit.jsonl and compared on the fifth
part, which neither had seen: how many backdoored models score higher than all but so many of the clean ones.
"""

from __future__ import annotations

from typing import Any

from classifier_audit import LEAST_SUCCESS, calibration_lines, expectations, read_lines

from bdm_defense_classifier_audit.decision import CALIBRATED, decide, lead_of, leads, suspicion
from bdm_torch.calibration import conformal_of_several

MEASURES = ("patch", "added", "warp", "margin")
PART = "fifth"
RATE = 0.04


def former_leads(line: dict[str, Any]) -> list[float]:
    """What the former version judged by."""
    return [lead_of(measure, suspicion(line["values"], measure)).size for measure in MEASURES]


def main() -> None:
    """The command."""
    known = [former_leads(line) for line in calibration_lines() if line["part"] == "calibration"]
    mode, expected = expectations()["pictures"]
    lines = [line for line in read_lines() if line["part"] == PART]
    lines = [line for line in lines if line["attack"] is None or line["asr"] >= LEAST_SUCCESS]
    scores: dict[str, list[tuple[bool, float]]] = {"former": [], "now": []}
    for line in lines:
        backdoored, found = line["attack"] is not None, leads(line["values"], mode, expected[line["data"]])
        scores["former"].append((backdoored, conformal_of_several(former_leads(line), known, RATE).score))
        scores["now"].append((backdoored, decide(found, mode, CALIBRATED.read(), RATE).score))
    for name, each in scores.items():
        clean = sorted((score for backdoored, score in each if not backdoored), reverse=True)
        hits = [score for backdoored, score in each if backdoored]
        for allowed in range(3):
            above = sum(score > clean[allowed] for score in hits)
            print(f"{name}: {above} of {len(hits)} backdoored above all but {allowed} of {len(clean)} clean models")


if __name__ == "__main__":
    main()
