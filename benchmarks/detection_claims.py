"""What the papers claim, against the population: the words of the detection page."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from detection_numbers import Line, area, judged, limit_of, markdown, rates, scored, share

CONFIRMED, REFUTED = 0.95, 0.75
"""Accuracies at which a claim of "close to 100 %" counts as confirmed, and below which as refuted."""
DARK = {"white-box", "stop-sign", "glasses"}
"""Triggers on a background of -1."""
LEAST_MODELS = 5
"""With fewer models of a class nothing is said of it."""
TOO_FEW = "too few models to confirm or refute"
OWN = "reference-audit"
"""Our own detector: its settings here are the ones that the claim is made for."""
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


def classes_of(lines: Sequence[tuple[Line, tuple[bool, float]]]) -> dict[str, Callable[[Line], bool]]:
    """Name -> what belongs to it, for the classes of backdoor that occur."""
    groups: dict[str, Callable[[Line], bool]] = {"villan, sde, triggers on -1": dark_ancestral}
    for group in sorted({line["group"] for line, pair in lines if pair[0]}):
        groups[group] = lambda line, group=group: line["group"] == group  # type: ignore[misc]
    return groups


def accuracies(lines: Sequence[Line], defense: str, *halves: str) -> dict[str, tuple[float, list[bool]]]:
    """Class -> mean of the TPR on it and the TNR on all clean models, and which of its models are found."""
    limit = limit_of(lines, defense)
    clean = [pair for _, pair in scored(lines, defense, "test") if not pair[0]]
    own = [item for item in scored(lines, defense, *halves) if item[1][0]]
    found = {}
    for name, fits in classes_of(own).items():
        pairs = [pair for line, pair in own if fits(line)]
        if pairs and clean:
            found[name] = (rates([*clean, *pairs], limit)[0], [score > limit for _, score in pairs])
    return found


def word_for(accuracy: float, count: int, published: tuple[float, int] | None, own: bool) -> str:
    """What is said of a claim in a class.

    Args:
        accuracy: with the settings of the benchmark.
        count: models of the class.
        published: accuracy and models with the published settings, if they were run on the class.
        own: whether there are no other settings to try.
    """
    if count < LEAST_MODELS:
        return TOO_FEW
    if accuracy >= CONFIRMED:
        return "confirmed"
    if accuracy >= REFUTED:
        return "neither confirmed nor refuted"
    if own:
        return "refuted"
    if published is None:
        return "not confirmed with our settings; published settings not run"
    if published[1] < LEAST_MODELS:
        run = f"{published[1]} of the {LEAST_MODELS} models that it takes"
        return f"not confirmed with our settings; published settings run on {run}"
    if published[0] < REFUTED:
        return "refuted, with our settings and with published ones"
    return "confirmed with published settings only" if published[0] >= CONFIRMED else "neither confirmed nor refuted"


def claims(lines: Sequence[Line], paper: Sequence[Line]) -> str:
    """A paragraph for each detector of models: its claim, and the classes in which it is confirmed or refuted.

    Args:
        lines: of the benchmark.
        paper: of detectors with published settings.
    """
    parts = []
    for defense, claim in CLAIMS.items():
        test = scored(lines, defense, "test")
        if not test:
            continue
        published = {name: (value, len(hits)) for name, (value, hits) in accuracies(paper, defense).items()}
        said: dict[str, list[str]] = {}
        for name, (accuracy, hits) in accuracies(lines, defense, "test").items():
            word = word_for(accuracy, len(hits), published.get(name), defense == OWN)
            number = f"{accuracy:.2f}, " if len(hits) >= LEAST_MODELS else ""
            said.setdefault(word, []).append(f"{name} ({number}{sum(hits)} of {len(hits)})")
        order = sorted(said, key=lambda word: (word == TOO_FEW, word))
        sentences = [f"{word.capitalize()}: {'; '.join(said[word])}." for word in order]
        unsure = [not line["detection"]["conclusive"] for line, _ in test]
        if any(unsure):
            sentences.append(f"Share of models on which its verdict is that it cannot tell: {share(unsure)}.")
        parts.append(f"**{defense}.** {claim} Here: " + " ".join(sentences))
    return "\n\n".join(
        [
            "In brackets: the mean of the TPR on the class and the TNR on all clean models, at the threshold of the\n"
            f"calibration half, and how many of its backdoored models are found. Confirmed from {CONFIRMED} on; below\n"
            f"{REFUTED} refuted, if the published settings fail too. Of a class of fewer than {LEAST_MODELS} models "
            "nothing is said.",
            *(wrapped(part) for part in parts),
            *with_published_settings(paper),
        ]
    )


def with_published_settings(paper: Sequence[Line]) -> list[str]:
    """What was measured with ``--preset paper``; nothing without lines."""
    rows = [["detector", "clean + backdoored", "accuracy", "TPR", "TNR", "AUROC", "s"]]
    for defense in sorted({line["defense"] for line in paper}):
        test = [item for item in scored(paper, defense) if item[1][0] or item[0]["half"] == "test"]
        pairs = [pair for _, pair in test]
        if {flag for flag, _ in pairs} == {True, False}:
            bad = sum(flag for flag, _ in pairs)
            seconds = sorted(line["seconds"] for line, _ in test)[len(test) // 2]
            counts = f"{len(pairs) - bad} + {bad}"
            rows.append([defense, counts, *judged(pairs, limit_of(paper, defense)), area(pairs), f"{seconds:.0f}"])
    if len(rows) == 1:
        return []
    classes = sorted({line["group"] for line in paper if line["group"] != "clean"})
    return [
        "### With published settings",
        wrapped(
            "The preset `paper` of a detector (`python benchmarks/detection.py --preset paper`), on a small part of "
            f"the population: {', '.join(classes)}. The distance between images is that of pixels, not LPIPS, whose "
            "weights would have to be fetched. The threshold is the highest score of the clean models of the "
            "calibration half with the same settings; the clean models counted are of the test half, the backdoored "
            "ones of both, as none of them enters a threshold."
        ),
        markdown(rows),
    ]


def wrapped(text: str, width: int = 118) -> str:
    """A paragraph in lines."""
    return "\n".join(textwrap.wrap(text, width, break_long_words=False))
