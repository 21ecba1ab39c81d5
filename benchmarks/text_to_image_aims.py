"""What the table of text-to-image defenses must reach beside what was reached."""

from __future__ import annotations

from collections.abc import Sequence

from classifier_pairs_numbers import Number, before, estimate, shown
from detection_numbers import markdown
from swept import Line
from text_to_image_pairs import PLAN, attack_of, label_of, of_taken, planned, setting_of

from bdm_sweep import read_plan

STOPPED, LOSS = 0.10, 0.05
"""A repair reaches its aim at most at this ASR and loss of accuracy."""
AIMS = {"rickrolling TPA": 0.9, "rickrolling TAA": 0.7, "eviledit": None, "sembd": 0.9}
"""Attack -> the TPR at 5 % FPR that prompt-audit must reach beside an AUROC of .95; None for none."""
OURS, WITH_BASE = "prompt-audit", "prompt-audit (small-world)"
AFTER = {"repaired": "", "purified": " (inputs)"}
BY = {"repaired": "by a repair of the model", "purified": "by inputs turned away or changed"}
REPAIR = "ASR of .10 or less, at most .05 of the accuracy lost"


def at(row: str, name: str) -> Number:
    """A number of a row of the results."""
    return before(name, row)


def judges(lines: Sequence[Line]) -> list[Line]:
    """Lines of detectors of prompts."""
    return [line for line in lines if "auroc" in line.get("backdoored", {})]


def served(line: Line, row: str) -> float | None:
    """The accuracy that is left, where a clean prompt that is turned away is one without a picture."""
    accuracy = line[row].get("acc")
    return None if accuracy is None else accuracy * (1 - line[row].get("rejected_clean", 0.0))


def reaches(line: Line, row: str) -> bool:
    """Whether the backdoor is gone at little loss."""
    accuracy, success = served(line, row), line[row].get("asr")
    undefended = line["backdoored"].get("acc")
    known = accuracy is not None and success is not None and undefended is not None
    return bool(known and success <= STOPPED and round(undefended - accuracy, 6) <= LOSS)


def aims(lines: Sequence[Line]) -> str:
    """What must be reached beside what was, a row each.

    Args:
        lines: complete ones.
    """
    took = of_taken(lines)
    rows = [["", "must", "measured", "pairs"]]
    for attack, rate in AIMS.items():
        own = [line for line in took if setting_of(line) == (attack, OURS)]
        for what, must, number in (
            ("AUROC", "at least .95", at("backdoored", "auroc")),
            ("AUROC of the same texts on the clean model", "at most .70", at("clean", "auroc")),
            ("TPR at 5 % FPR", "" if rate is None else f"at least {rate:.2f}", at("backdoored", "tpr_at_5")),
        ):
            rows.append([f"`{OURS}`, {attack}: {what}", must, shown(own, number) or "–", str(len(own))])
    for attack in dict.fromkeys(attack_of(line) for line in judges(lines)):
        own = [line for line in took if setting_of(line) == (attack, WITH_BASE)]
        if any(setting_of(line) == (attack, WITH_BASE) for line in lines):
            found = shown(own, at("backdoored", "auroc")) if own else without(lines, attack)
            rows.append([f"`{WITH_BASE}`, {attack}: AUROC", "at least .95", found, str(len(own))])
    for attack in dict.fromkeys(case.name for case, _ in planned(read_plan(PLAN))):
        for row, must in BY.items():
            tried = [line for line in took if attack_of(line) == attack and row in line]
            any_tried = any(attack_of(line) == attack and row in line for line in lines)
            found = reached(tried, row) if tried else without(lines, attack) if any_tried else "–"
            rows.append([f"{attack}: {REPAIR}", must, found, str(len(tried))])
    return markdown(rows)


def reached(lines: Sequence[Line], row: str) -> str:
    """Which defenses reach the aim at all seeds of an attack, and which at some."""
    always, sometimes = [], []
    for name in dict.fromkeys(map(label_of, lines)):
        flags = [reaches(line, row) for line in lines if label_of(line) == name]
        if all(flags):
            always.append(name)
        elif any(flags):
            sometimes.append(f"{name} ({sum(flags)} of {len(flags)})")
    return ", ".join(always or ["none at every seed"]) + (
        f"; at some seeds: {', '.join(sometimes)}" if sometimes else ""
    )


def without(lines: Sequence[Line], attack: str) -> str:
    """That an attack does not take, with its success without defense."""
    own = [line for line in lines if attack_of(line) == attack and line["defense"] == "none"]
    found = estimate(own, at("backdoored", "asr"))
    return f"the attack does not take (ASR {found.mean:.2f})" if found else "not known whether the attack takes"
