"""What papers on text-to-image defenses claim beside what the pairs of ``text_to_image_defenses.py`` show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

from detection_numbers import markdown, share
from swept import Line
from text_to_image_pairs import attack_of, label_of, of_taken

HALF = 0.5
RIVALS = ("daa (length_bias)", "navit2i (small-world)", "t2ishield", "ufid")
"""Detectors of prompts that were published before those that claim to be ahead of others."""


@dataclass(frozen=True)
class Claim:
    """A number of a paper.

    Attributes:
        defense: as :func:`label_of` names it.
        said: the claim in words, with its source.
        number: the same of a pair; None where a pair says nothing about it.
        reached: whether a pair is as the claim says.
        shows: the mean number in words, ``{}`` for it.
        attacks: beginnings of the attacks that the claim is about; () for all.
        instead: what is here in the place of the method of the claim; "" for that method. Then nothing follows.
    """

    defense: str
    said: str
    number: Callable[[Line], float | None]
    reached: Callable[[float], bool]
    shows: str
    attacks: tuple[str, ...] = ()
    instead: str = ""


def auroc(line: Line) -> float | None:
    """AUROC of triggered prompts against their twins."""
    return line["backdoored"].get("auroc")


def f1(line: Line) -> float | None:
    """F1 at the detector's own threshold, as many triggered prompts as clean ones.

    >>> f1({"backdoored": {"tpr": 1.0, "fpr": 0.0}}), f1({"backdoored": {"tpr": 0.0, "fpr": 0.0}})
    (1.0, 0.0)
    """
    tpr, fpr = (line["backdoored"].get(name) for name in ("tpr", "fpr"))
    return None if tpr is None or fpr is None else 2 * tpr / (tpr + fpr + 1)


def left(line: Line) -> float | None:
    """Attack success after the repair."""
    return line.get("repaired", {}).get("asr")


def passed(line: Line) -> float | None:
    """Attack success where flagged prompts are turned away, or prompts are changed."""
    return line.get("purified", {}).get("asr")


def false_alarms(line: Line) -> float | None:
    """Share of the untriggered twins that are flagged at the own threshold."""
    return line["backdoored"].get("fpr")


def accuracy(line: Line) -> float | None:
    """Share judged rightly at the own threshold, as many triggered prompts as clean ones.

    >>> accuracy({"backdoored": {"tpr": 0.5, "fpr": 0.1}})
    0.7
    """
    tpr, fpr = (line["backdoored"].get(name) for name in ("tpr", "fpr"))
    return None if tpr is None or fpr is None else (1 + tpr - fpr) / 2


def auroc_ahead(line: Line) -> float | None:
    """AUROC beyond that of the best rival on the same model."""
    return _ahead(line, auroc)


def accuracy_ahead(line: Line) -> float | None:
    """Accuracy beyond that of the best rival on the same model."""
    return _ahead(line, accuracy)


def _ahead(line: Line, number: Callable[[Line], float | None]) -> float | None:
    own = number(line)
    others = [value for rival in line.get("rivals", []) if (value := number(rival)) is not None]
    return None if own is None or not others else own - max(others)


def flagged(line: Line) -> float | None:
    """1 if a detector of models calls the backdoored one so, 0 if it calls it clean or cannot tell."""
    judged = line["backdoored"]
    return float(judged.get("verdict") == 1.0) if "score" in judged else None


def at_least(bound: float) -> Callable[[float], bool]:
    """Whether a number is so large."""
    return lambda value: value >= bound


def at_most(bound: float) -> Callable[[float], bool]:
    """Whether a number is so small."""
    return lambda value: value <= bound


CLAIMS = [
    Claim(
        "t2ishield",
        "F1 .865 on Rickrolling and Villan (T2IShield, FTT)",
        f1,
        at_least(0.865),
        "F1 {}",
        ("rickrolling", "villan"),
    ),
    Claim(
        "t2ishield (cda)",
        "F1 .889 on Rickrolling and Villan (T2IShield, CDA), a discriminant that was trained on triggers",
        f1,
        at_least(0.889),
        "F1 {}",
        ("rickrolling", "villan"),
        instead="one-class, without triggers",
    ),
    Claim("t2ishield", "99 % of poisoned prompts invalidated (T2IShield)", left, at_most(0.01), "ASR left {}"),
    Claim(
        "daa (length_bias)",
        "AUROC .863 over six attacks (DAA in a later benchmark)",
        auroc,
        at_least(0.863),
        "AUROC {}",
    ),
    Claim("daa (length_bias)", "F1 .793 over six attacks (DAA in a later benchmark)", f1, at_least(0.793), "F1 {}"),
    Claim(
        "daa (system, length_bias)",
        "AUROC .877 over six attacks (DAA, its abstract)",
        auroc,
        at_least(0.877),
        "AUROC {}",
    ),
    Claim("daa (system, length_bias)", "F1 .795 over six attacks (DAA, its abstract)", f1, at_least(0.795), "F1 {}"),
    Claim("navit2i (small-world)", "AUROC .963 over eight attacks (NaviT2I)", auroc, at_least(0.963), "AUROC {}"),
    Claim("ufid (prefix)", "F1 .723 over eight attacks (UFID in BlackMirror's test)", f1, at_least(0.723), "F1 {}"),
    Claim("blackmirror", "F1 .895 over eight attacks (BlackMirror)", f1, at_least(0.895), "F1 {}"),
    Claim("blackmirror", "FPR .15 over eight attacks (BlackMirror)", false_alarms, at_most(0.15), "FPR {}"),
    Claim("temporal-noise", "accuracy .11 above others (TNC)", accuracy_ahead, at_least(0.11), "{} above the best"),
    Claim(
        "temporal-noise",
        "98.5 % of poisoned prompts invalidated (TNC), repaired at some timesteps",
        passed,
        at_most(0.015),
        "ASR left {}",
        instead="flagged prompts turned away",
    ),
    Claim("scaling-offset", "AUROC .091 above the best other (SET)", auroc_ahead, at_least(0.091), "{} above the best"),
    Claim(
        "text-perturbation",
        "ASR 1.0 to 0.0 on Rickrolling (textual perturbation, in a later benchmark)",
        passed,
        at_most(0.05),
        "ASR left {}",
        ("rickrolling",),
    ),
    Claim(
        "text-perturbation (synonyms, small-world)",
        "ASR 1.0 to 0.3 on Villan (textual perturbation, in a later benchmark)",
        passed,
        at_most(0.35),
        "ASR left {}",
        ("villan",),
    ),
    Claim("stedf", "detection of .998 (STEDiff), the trigger known", auroc, at_least(0.998), "AUROC {}"),
    Claim(
        "amdet (small-world)",
        "F1 .899 on text encoders of CLIP (AMDet)",
        flagged,
        at_least(1.0),
        "found {}",
        ("rickrolling",),
    ),
    Claim("elijah", "nearly all models told, ASR to nearly 0 (Elijah): ASR", left, at_most(0.05), "ASR left {}"),
    Claim("elijah", "the same: models told", flagged, at_least(1.0), "found {}"),
    Claim("terd", "TPR and TNR of 1.00 (TERD): models told", flagged, at_least(1.0), "found {}"),
]
WORDS = """Claims of papers, about Stable Diffusion, beside what the same methods show here, on a small pipeline
with their defaults; a claim that does not hold here may hold there. The share is that of the models (attack and
seed) on which a method reaches the published number, with its exact 95 % interval: *holds* where the interval lies
above one half, *does not hold* where it lies below, else *open*. Attacks with a success below .50 without defense
are left out. "Above" means: beyond the best of `daa` and `navit2i` as published (with the length bias; with a
trusted text encoder), `t2ishield` and `ufid` on the same model. *Not tested* stands where the method here is not
the one of the claim: CDA's discriminant needs labelled triggers, which no row here gives it; TNC's repair is not
built."""


def verdict(flags: Sequence[bool]) -> str:
    """In words, by the exact interval of the share."""
    from bdm_torch.statistics import exact_interval

    low, high = exact_interval(sum(flags), len(flags))
    return "holds" if low > HALF else "does not hold" if high < HALF else "open"


def claims_table(lines: Sequence[Line]) -> str:
    """Each claim, what was measured and what follows.

    Args:
        lines: the complete pairs.
    """
    lines = of_taken(lines)
    rivals: dict[tuple[str, int], list[Line]] = {}
    for line in lines:
        if label_of(line) in RIVALS:
            rivals.setdefault((attack_of(line), line["seed"]), []).append(line)
    lines = [{**line, "rivals": rivals.get((attack_of(line), line["seed"]), [])} for line in lines]
    rows = [["claim", "method here", "measured, mean", "models that reach it", "of", "so", "reached on"]]
    for claim in CLAIMS:
        own = [
            (attack_of(line), value)
            for line in lines
            if label_of(line) == claim.defense
            and (not claim.attacks or attack_of(line).startswith(claim.attacks))
            and (value := claim.number(line)) is not None
        ]
        if not own:
            rows.append([claim.said, f"`{claim.defense}`", "–", "–", "0", "–", ""])
            continue
        flags = [claim.reached(value) for _, value in own]
        names = ", ".join(dict.fromkeys(name for (name, _), flag in zip(own, flags, strict=True) if flag))
        shown = claim.shows.format(f"{mean(value for _, value in own):.2f}")
        so = f"not tested: {claim.instead}" if claim.instead else verdict(flags)
        rows.append([claim.said, f"`{claim.defense}`", shown, share(flags), str(len(own)), so, names or "none"])
    return markdown(rows)
