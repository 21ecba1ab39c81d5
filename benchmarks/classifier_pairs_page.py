"""The page of pairs of attacks on image classifiers and defenses: how many are measured, and what they say."""

from __future__ import annotations

import json
import statistics
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from classifier_attacks_page import DATA, settings
from detection_numbers import markdown
from swept import PLANS, Line

from bdm_results.intervals import Estimate
from bdm_sweep import read_plan

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "classifier-pairs.md"
SPEED = Path(__file__).parent / "results" / "classifier_pairs_speed.json"
PARTS = {"classifier-pairs": "all attacks at about 5 %", "classifier-pairs-rates": "four attacks at 10, 1 and .1 %"}
STRONG, STOPPED, LOSS, AREA = 0.95, 0.10, 0.05, 0.90
"""An attack that counts has at least this ASR; a repair reaches its aim at most at this ASR and loss of accuracy; a
detector at least at this AUROC."""
Number = Callable[[Line], float | None]


def latest(lines: Sequence[Line]) -> list[Line]:
    """Of each pair its last line."""
    return list({line["run"]: line for line in lines}.values())


def is_clean(line: Line) -> bool:
    """Whether nothing was poisoned: the model is clean, and so is what is defended."""
    return bool(line["params"].get("poison_rate") == 0)


def attack_of(line: Line) -> str:
    """The attack with its settings and data."""
    given = settings(line)
    name = "no attack" if is_clean(line) else str(line["attack"]) + (f" ({given})" if given else "")
    return f"{name}, {DATA[line['model']]}"


def final(line: Line) -> str | None:
    """The row of the model, or of its inputs, as the defense leaves them; None if it detects alone."""
    return next((row for row in ("repaired", "purified") if row in line), None)


def after(name: str) -> Number:
    """A number of what the defense leaves."""
    return lambda line: line[row].get(name) if (row := final(line)) else None


def before(name: str, row: str = "backdoored") -> Number:
    """A number of the undefended (``clean``: of the clean) model, or of the detector on it."""
    return lambda line: line.get(row, {}).get(name)


def cost(name: str) -> Number:
    """What the defense took."""
    return lambda line: line["cost"].get(name)


def estimate(lines: Sequence[Line], number: Number) -> Estimate | None:
    """Mean over the attacks of each seed, then mean and deviation over the seeds; None without a number."""
    by_seed: dict[int, list[float]] = {}
    for line in lines:
        value = number(line)
        if value is not None:
            by_seed.setdefault(line["seed"], []).append(value)
    means = [statistics.mean(values) for values in by_seed.values()]
    if not means:
        return None
    return Estimate(statistics.mean(means), statistics.stdev(means) if len(means) > 1 else None, len(means))


def shown(lines: Sequence[Line], number: Number, digits: int = 3) -> str:
    """Mean and half of the 95 % t interval over the seeds."""
    found = estimate(lines, number)
    if found is None:
        return ""
    half = found.half_width
    return f"{found.mean:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")


def served(line: Line) -> float | None:
    """Accuracy of what the defense leaves, where a clean input that is turned away is one that is not classified."""
    accuracy = after("accuracy")(line)
    return None if accuracy is None else accuracy * (1 - (after("rejected_clean")(line) or 0.0))


def effectiveness(line: Line) -> float | None:
    """DER of BackdoorBench, (max(0, fall of the ASR) - max(0, fall of the accuracy) + 1) / 2, with that accuracy."""
    accuracy, success, undefended = served(line), after("asr")(line), line["backdoored"]
    if accuracy is None or success is None or "asr" not in undefended:
        return None
    return float((max(0, undefended["asr"] - success) - max(0, undefended["accuracy"] - accuracy) + 1) / 2)


def reaches(line: Line) -> bool:
    """Whether a pair is what the papers claim: the backdoor is gone at little loss, or the detector separates."""
    undefended, accuracy, success = line["backdoored"], served(line), after("asr")(line)
    repaired = success is not None and accuracy is not None and success <= STOPPED
    repaired = repaired and undefended["accuracy"] - (accuracy or 0.0) <= LOSS
    return bool(repaired or undefended.get("auroc", 0.0) >= AREA)


def counts(line: Line) -> bool:
    """Whether the attack of a pair works at all."""
    return not is_clean(line) and (line["backdoored"].get("asr") or 0.0) >= STRONG


def ranks(lines: Sequence[Line], number: Number) -> dict[str, float]:
    """Mean rank of each defense over attacks and seeds, 1 for the highest number; equal ones share a rank."""
    found: dict[str, list[float]] = {}
    for setting in {(attack_of(line), line["seed"]) for line in lines}:
        here = [line for line in lines if (attack_of(line), line["seed"]) == setting]
        values = {line["defense"]: value for line in here if (value := number(line)) is not None}
        for defense, value in values.items():
            above = sum(other > value for other in values.values())
            found.setdefault(defense, []).append(above + (1 + sum(o == value for o in values.values())) / 2)
    return {defense: statistics.mean(places) for defense, places in found.items()}


def board(lines: Sequence[Line], number: Number, columns: dict[str, tuple[Number, int]]) -> str:
    """One row for each defense, sorted by its mean rank in ``number``."""
    order = ranks(lines, number)
    costs = {"clean samples": ("clean_samples", 0), "s": ("seconds", 1), "CPU s": ("processor_seconds", 1)}
    costs |= {"forward": ("forward_passes", 0), "backward": ("backward_passes", 0)}
    rows = [["defense", "mean rank", "pairs", *columns, "reached", "access", *costs]]
    for defense in sorted(order, key=lambda name: (order[name], name)):
        own = [line for line in lines if line["defense"] == defense]
        strong = [line for line in own if counts(line)]
        rows.append(
            [
                defense,
                f"{order[defense]:.1f}",
                str(len(own)),
                *(shown(own, found, digits) for found, digits in columns.values()),
                f"{sum(map(reaches, strong))} of {len(strong)}",
                ", ".join(own[0]["access"]) or "none",
                *(shown(own, cost(name), digits) for name, digits in costs.values()),
            ]
        )
    return markdown(rows)


REPAIR = {
    "ASR before": (before("asr"), 3),
    "ASR": (after("asr"), 3),
    "ACC before": (before("accuracy"), 3),
    "ACC": (after("accuracy"), 3),
    "R-Acc": (after("recovered_accuracy"), 3),
    "DER": (effectiveness, 3),
    "clean inputs rejected": (after("rejected_clean"), 3),
}
DETECT = {
    "AUROC": (before("auroc"), 3),
    "TPR": (before("tpr"), 3),
    "FPR": (before("fpr"), 3),
    "F1": (before("f1"), 3),
    "F1 random filter": (before("f1_random"), 3),
    "F1 perfect filter": (before("f1_perfect"), 3),
    "flagged on the clean model": (before("fpr", "clean"), 3),
}


def attack_tables(lines: Sequence[Line]) -> str:
    """A table for each attack: every defense against it."""
    parts = []
    for attack in dict.fromkeys(attack_of(line) for line in lines):
        here = [line for line in lines if attack_of(line) == attack]
        head = ["defense", "seeds", "ASR", "ACC", "R-Acc", "DER", "AUROC", "TPR", "FPR", "called backdoored"]
        rows = [[*head, "ASR, bound"]]
        for defense in dict.fromkeys(line["defense"] for line in here):
            own = [line for line in here if line["defense"] == defense]
            numbers = [*map(after, ("asr", "accuracy", "recovered_accuracy")), effectiveness]
            numbers += [before(name) for name in ("auroc", "tpr", "fpr")]
            verdict = shown(own, before("verdict"), 2)
            bound = shown(own, lambda line: line.get("upper_bound", {}).get("asr"))
            rows.append([defense, str(len(own)), *(shown(own, number) for number in numbers), verdict, bound])
        undefended = f"Undefended: ASR {shown(here, before('asr'))}, ACC {shown(here, before('accuracy'))}."
        parts.append(f"### {attack}\n\n{undefended}\n\n{markdown(rows)}\n")
    return "\n".join(parts)


def verdicts(lines: Sequence[Line]) -> str:
    """Which defenses reach their aim on some attack, and which on none so far."""
    tried: dict[str, list[Line]] = {}
    for line in lines:
        if counts(line) and line["defense"] != "none":
            tried.setdefault(line["defense"], []).append(line)
    hit = {name: [line for line in own if reaches(line)] for name, own in tried.items()}
    missed = sorted(name for name, own in hit.items() if not own)
    rows = [["reached by", "on"]]
    for name, own in sorted(hit.items()):
        if own:
            rows.append([name, "; ".join(dict.fromkeys(f"{attack_of(line)} (seed {line['seed']})" for line in own))])
    text = f"Tried and not reached on any attack so far: {', '.join(missed) or 'none'}."
    return f"{markdown(rows)}\n\n{textwrap.fill(text, 118, break_on_hyphens=False)}\n"


def state(lines: Sequence[Line]) -> str:
    """How many of the planned pairs are measured, and how fast."""
    rows = [["plan", "pairs planned", "measured", "failed"]]
    for part, about in PARTS.items():
        own = [line for line in lines if line["part"] == part]
        measured = sum(line["status"] == "complete" for line in own)
        planned = read_plan(PLANS / f"{part}.yaml").combinations()
        rows.append([f"`{part}`: {about}", str(planned), str(measured), str(len(own) - measured)])
    text = markdown(rows)
    if SPEED.exists():
        speed = json.loads(SPEED.read_text(encoding="utf-8"))
        rate = 3600 * speed["pairs"] / speed["seconds"] if speed["seconds"] else 0.0
        text += (
            f"\n\nMeasured in {speed['seconds'] / 60:.0f} minutes by one worker with one thread: {rate:.0f} pairs an "
            "hour (at least 400 are asked for on two\ncores). The machine was shared with much other work: a stage "
            "took several times its processor time.\n"
        )
    if any(row[1] != row[2] for row in rows[1:]):
        text += "\nToo few pairs to say which published orderings of defenses hold here, and which do not.\n"
    failed = [
        [attack_of(line), line["defense"], str(line["seed"]), str(line["error"]).replace("|", "/")]
        for line in lines
        if line["status"] == "failed"
    ]
    if not failed:
        return f"{text}\nNo pair failed.\n"
    return f"{text}\nFailed:\n\n{markdown([['attack', 'defense', 'seed', 'why'], *failed])}\n"


def write_page(lines: Sequence[Line]) -> Path:
    """Write it."""
    lines = latest(lines)
    complete = [line for line in lines if line["status"] == "complete"]
    attacked = [line for line in complete if not is_clean(line)]
    repairs = [line for line in attacked if final(line)]
    detectors = [line for line in attacked if "auroc" in line["backdoored"]]
    judges = [line for line in complete if line["backdoored"].get("verdict") is not None]
    judged = [["model detector", "pairs", "backdoored models called backdoored", "clean models called so"]]
    for name in dict.fromkeys(line["defense"] for line in judges):
        own = [line for line in judges if line["defense"] == name and not is_clean(line)]
        rates = [shown(own, before("verdict", row), 2) for row in ("backdoored", "clean")]
        judged.append([name, str(len(own)), *rates])
    PAGE.write_text(
        f"{INTRODUCTION}\n{state(lines)}\n## Repairs and purified inputs, by the mean rank of DER\n\n"
        f"{board(repairs, effectiveness, REPAIR) if repairs else 'Not measured.'}\n\n"
        "## Detectors of rows and inputs, by the mean rank of AUROC\n\n"
        f"{board(detectors, before('auroc'), DETECT) if detectors else 'Not measured.'}\n\n"
        f"## Detectors of models\n\n{markdown(judged) if len(judged) > 1 else 'Not measured.'}\n\n"
        f"## What is reached\n\n{AIM}\n\n{verdicts(complete) if attacked else 'Not measured.'}\n"
        f"## Attack by attack\n\n{attack_tables(complete)}\n{END}",
        encoding="utf-8",
    )
    return PAGE


INTRODUCTION = """# Attacks on image classifiers against defenses

Every defense with its defaults: no test labels, no knowledge of the attack, only the declared access, clean rows of
the reserve (as many as a tenth of the training rows), the threshold of a detector from that reserve. A detector of
models that says clean leaves the model as it is. The network is the kit's small CNN; the data are declared once for
each attack in the plan. Means over attacks, then over seeds, ± half of the 95 % t interval over seeds (none for one
seed). A mean over few attacks is no ranking of the methods: look at how many pairs there are. Where inputs are turned
away, ASR, ACC and R-Acc are those of what passes (a rejected trigger is no success), but DER and what is reached count
a clean input that is turned away as not classified.
"""
AIM = """On attacks of an ASR of at least .95: ASR at most .10 at an accuracy loss of at most .05 behind a repair or
purified inputs, or an AUROC of at least .90 of a detector."""
END = """The column *ASR, bound* is that of a pruner whose point is chosen by the test ASR: an upper bound that no
defender has, never the result. *no attack* is a model trained on clean rows and defended all the same.

`python benchmarks/classifier_pairs.py` measures what is missing and writes this page; with `--page` it only writes it.
`bdm sweep benchmarks/plans/classifier-pairs.yaml --dry-run` lists the pairs.
"""
