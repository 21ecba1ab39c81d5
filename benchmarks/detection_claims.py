"""What the papers claim, against the population: the words of the detection page."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from detection_page import rates, scored, threshold

Line = dict[str, Any]
CONFIRMED, REFUTED = 0.95, 0.75
"""Accuracies at which a claim of "close to 100 %" counts as confirmed, and below which as refuted."""
DARK = {"white-box", "stop-sign", "glasses"}
"""Triggers on a background of -1."""
CLAIMS = {
    "elijah": "Elijah (An et al., 2024) states a detection accuracy close to 100 % for BadDiffusion, TrojDiff and "
    "VillanDiffusion on DDPM, NCSN and LDM; its start points and lambda were chosen for each attack.",
    "terd": "TERD (Mo et al., 2024) states that it detects backdoored models and triggered inputs with TPR and TNR of "
    "100 % on BadDiffusion, TrojDiff and VillanDiffusion.",
    "diff-cleanse": "Diff-Cleanse (Hao et al., 2024) states about 100 % for BadDiffusion, TrojDiff and VillanDiffusion "
    "on DDPM, NCSN and LDM.",
    "reference-audit": "Our own claim: accuracy of at least .95 and TPR at 5 % FPR of at least .90 over all classes.",
}
"""Detector of models -> what is said of it."""


def dark_ancestral(line: Line) -> bool:
    """The class in which the published inversions can work: ancestral, psi 1, a trigger on -1, in pixels, VP."""
    return line["group"] == "villan, sde" and line["settings"].get("trigger") in DARK


def claims(lines: Sequence[Line]) -> str:
    """A paragraph for each detector of models: its claim, and the classes in which it is confirmed or refuted."""
    parts = []
    for defense, claim in CLAIMS.items():
        test = scored(lines, defense, "test")
        if not test:
            continue
        limit = threshold([pair[1] for _, pair in scored(lines, defense, "calibration") if not pair[0]])
        clean = [pair for _, pair in test if not pair[0]]
        groups: dict[str, Callable[[Line], bool]] = {
            "villan, sde, triggers on -1": dark_ancestral,
            **{
                group: (lambda line, group=group: line["group"] == group)
                for group in sorted({line["group"] for line, pair in test if pair[0]})
            },
        }
        found: dict[str, list[str]] = {"confirmed": [], "neither confirmed nor refuted": [], "refuted": []}
        for name, fits in groups.items():
            own = [pair for line, pair in test if pair[0] and fits(line)]
            if own:
                accuracy = rates([*clean, *own], limit)[0]
                word = "confirmed" if accuracy >= CONFIRMED else "refuted" if accuracy < REFUTED else None
                found[word or "neither confirmed nor refuted"].append(f"{name} ({accuracy:.2f}, {len(own)})")
        said = [f"{word.capitalize()} for {'; '.join(names)}." for word, names in found.items() if names]
        untold = statistics.mean(not line["detection"]["conclusive"] for line, _ in test)
        if untold:
            said.append(f"On {untold:.0%} of the models its verdict is that it cannot tell.")
        parts.append(f"**{defense}.** {claim} Here: " + " ".join(said))
    return "\n\n".join(
        [
            "Accuracy is the mean of the TPR on the class and the TNR on all clean models, at the threshold of the\n"
            f"calibration half; confirmed from {CONFIRMED}, refuted below {REFUTED}. In brackets: accuracy, models.",
            *(wrapped(part) for part in parts),
        ]
    )


def wrapped(text: str, width: int = 118) -> str:
    """A paragraph in lines."""
    return "\n".join(textwrap.wrap(text, width, break_long_words=False))
