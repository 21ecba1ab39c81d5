"""The page of the attacks on image classifiers: means over seeds, with intervals, beside what each must reach."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path

from classifier_attacks_orderings import orderings
from detection_numbers import markdown
from swept import Line

from bdm_kit_classification.catalogue import MODELS
from bdm_results.intervals import Estimate

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "classifier-attacks.md"
DATA = {"mnist-cnn": "mnist-5k", "colour-digits-cnn": "colour-digits"}
FURTHER = {
    "BackdoorMBTI's further ones": ("bit-flip", "dynamic-trigger", "imc", "perlin-noise", "trojannet", "ubw"),
    "of backdoor-toolbox": ("bad-encoder",),
}
"""Attacks that are not of the twenty, which are BackdoorBench's sixteen and these four."""
ADDED = ("adaptive-blend", "adaptive-patch", "combat", "narcissus")
HARD = ("bpp", "input-aware", "label-consistent", "narcissus", "combat")
"""Attacks whose success must be at least .80 on one data set; that of the others .95."""
COSTLY = ("lira", "blind", "input-aware")
"""Attacks that may cost .05 of the accuracy; the others .02."""
PERTURBING = ("sig", "label-consistent", "ctrl", "narcissus", "combat", "bit-flip")
"""Attacks that change no label: a trigger that misleads a clean model too is an adversarial perturbation there."""
CLEAN_ASR = 0.05
SLOWEST = 150
"""Processor seconds of an attack at most."""
ENOUGH = 16
"""So many attacks at least must reach .95 on one data set."""
ACCURACY = {"mnist-cnn": 0.98, "colour-digits-cnn": 0.96}
HEAD = """\
Each attack with its defaults on two built-in data sets, the victim trained from scratch. Poison is 5 % of the rows;
10 % for dynamic-trigger, input-aware and ubw; clean-label attacks have a share of the target class, blind and lira
show every row that may be poisoned with the trigger too, and bad-encoder, bit-flip and trojannet have no rate. Means
over seeds, ± half of the 95 % t interval. ASR counts triggered test pictures of other classes than the target; beside
it the same pictures without the trigger, and with the trigger before the clean model, on which a trigger should do
nothing. Seconds are processor time of poisoning and training. Strengths were tuned on held-out training rows, never on
test pictures (each plugin's page says how). * marks what misses its bound."""
FORMER = """\
Rows with a dagger (†) are of the code before a change: input-aware (9 % of the rows were triggered in training),
wanet, and bpp with 8 levels (too many negatives were of the target class; bpp had twice as many negatives), and
combat on mnist-5k (the generator's loss asked the surrogate in training mode). bpp with its defaults and combat on
colour-digits are newer than the rest; their seconds are of the second machine below, beside other work, and do not
compare with the others."""
STRENGTH = """\
The trigger as strong as in the paper or the published benchmark, where the default is another; all else by default.
bpp's 8 levels are dithered here, as by default, and rounded in the published benchmark; lira's bound is of pixels in
[0, 1] here and of normalised ones as published, where .01 is about .0025 here."""


def estimate(lines: Sequence[Line], key: str) -> Estimate | None:
    """Mean and deviation over the seeds; None if no line has the number."""
    values = [line[key] for line in lines if line.get(key) is not None]
    if not values:
        return None
    return Estimate(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def mean(lines: Sequence[Line], key: str) -> float | None:
    """The mean over the seeds."""
    found = estimate(lines, key)
    return None if found is None else found.mean


def shown(lines: Sequence[Line], key: str, digits: int = 3) -> str:
    """Mean and half of the 95 % t interval over the seeds."""
    found = estimate(lines, key)
    if found is None:
        return ""
    half = found.half_width
    return f"{found.mean:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")


def plain(lines: Sequence[Line], key: str, digits: int = 3) -> str:
    """The mean alone."""
    found = mean(lines, key)
    return "" if found is None else f"{found:.{digits}f}"


def cost(lines: Sequence[Line]) -> float:
    """Accuracy of the clean model less that of the attacked one."""
    return statistics.mean(line["accuracy_clean_model"] - line["accuracy"] for line in lines)


def least(attack: str) -> float:
    """The success that an attack must reach on one data set."""
    return 0.80 if attack in HARD else 0.95


def allowed(attack: str) -> float:
    """The accuracy that an attack may cost."""
    return 0.05 if attack in COSTLY else 0.02


def settings(line: Line) -> str:
    """The parameters that a line's attack was given."""
    pairs = {key: value for key, value in line["params"].items() if value is not None}
    return ", ".join(
        f"`{key}` {value:g}" if isinstance(value, float) else f"`{key}` {value}" for key, value in pairs.items()
    )


def former(line: Line) -> str:
    """A dagger behind the name of what is of older code, as :data:`FORMER` says; else nothing."""
    attack, levels = line["attack"], "levels" in line["params"]
    older = attack == "combat" and DATA[line["model"]] == "mnist-5k"
    return " †" if older or attack in ("input-aware", "wanet") or (attack == "bpp" and levels) else ""


def table(groups: Sequence[list[Line]], *, named: bool = False) -> str:
    """One row for each attack and data set; * marks what misses a bound."""
    head = ["attack", "data", "seeds", "ASR", "ASR without trigger", "clean model under trigger", "ACC"]
    rows = [[*head, "clean model's ACC", "PSNR, dB", "CPU s"]]
    for own in groups:
        attack = own[0]["attack"]
        success, clean = mean(own, "asr") or 0.0, mean(own, "asr_clean_model") or 0.0
        rows.append(
            [
                attack + (f", {settings(own[0])}" if named else "") + former(own[0]),
                DATA[own[0]["model"]],
                str(len(own)),
                shown(own, "asr") + (" *" if success < least(attack) else ""),
                plain(own, "asr_without_trigger"),
                plain(own, "asr_clean_model") + (" *" if clean > CLEAN_ASR else ""),
                plain(own, "accuracy") + (" *" if cost(own) > allowed(attack) else ""),
                plain(own, "accuracy_clean_model"),
                plain(own, "psnr", 1),
                plain(own, "seconds", 0),
            ]
        )
    return markdown(rows)


def verdicts(groups: Sequence[list[Line]]) -> str:
    """Each attack against what it must reach."""
    rows = [
        ["attack", "ASR on one data set at least", "reached", "costs at most", "costs", "clean model at most", "says"]
    ]
    attacks = list(dict.fromkeys(own[0]["attack"] for own in groups))
    for attack in attacks:
        own = [group for group in groups if group[0]["attack"] == attack]
        best = max(own, key=lambda group: mean(group, "asr") or 0.0)
        costs, clean = cost(best), mean(best, "asr_clean_model") or 0.0
        high = max(mean(group, "asr_clean_model") or 0.0 for group in own)
        missed = [
            *(["success"] if (mean(best, "asr") or 0.0) < least(attack) else []),
            *(["accuracy"] if costs > allowed(attack) else []),
            *(
                ["clean model" + (": an adversarial perturbation" if attack in PERTURBING else "")]
                if clean > CLEAN_ASR
                else []
            ),
        ]
        other = " (on the other data set the clean model is above .05)" if clean <= CLEAN_ASR < high else ""
        rows.append(
            [
                attack + former(best[0]),
                f"{least(attack):.2f}",
                f"{mean(best, 'asr'):.3f} ({DATA[best[0]['model']]})",
                f"{allowed(attack):.2f}",
                f"{costs:.3f}",
                f"{CLEAN_ASR:.2f}",
                (f"missed: {', '.join(missed)}" if missed else "met") + other,
            ]
        )
    return markdown(rows)


def summary(groups: Sequence[list[Line]]) -> str:
    """How many attacks reach what was asked of the twenty together, and of the further ones."""
    best: dict[str, float] = {}
    for own in groups:
        best[own[0]["attack"]] = max(best.get(own[0]["attack"], 0.0), mean(own, "asr") or 0.0)
    further = [name for names in FURTHER.values() for name in names]
    twenty = [name for name in best if name not in further]
    high = [name for name, value in best.items() if value >= 0.95]
    short = sorted(name for name, value in best.items() if value < 0.80)
    slow = max((mean(own, "seconds") or 0.0, own[0]["attack"]) for own in groups)
    every = [line for own in groups for line in own]
    of = {model: [line for line in every if line["model"] == model] for model in ACCURACY}
    accuracies = ", ".join(
        f"{DATA[model]} {plain(of[model], 'accuracy_clean_model')} (at least {bound:.2f})"
        for model, bound in ACCURACY.items()
    )
    clutter = next(model.quality for model in MODELS if model.name == "clutter-cnn-wide")
    return (
        f"- Clean accuracy: {accuracies}.\n"
        f"- Of the built-in model of clutter: {clutter} (at least 0.95).\n"
        f"- ASR of at least .95 on one data set: {sum(name in high for name in twenty)} of {len(twenty)} attacks "
        f"({ENOUGH} must), and {sum(name in high for name in further)} of the {len(best) - len(twenty)} further ones "
        "that are measured.\n"
        f"- ASR below .80 on both: {', '.join(short) or 'none'}.\n"
        f"- The slowest, {slow[1]}, takes {slow[0]:.0f} s of processor time (at most {SLOWEST}).\n"
    )


def origins(measured: Sequence[str]) -> str:
    """Whose lists the attacks are of, and which of them are not measured."""
    groups = [f"{', '.join(names)} ({whose})" for whose, names in FURTHER.items()]
    missing = [name for names in FURTHER.values() for name in names if name not in measured]
    text = (
        f"Twenty are BackdoorBench's sixteen and {', '.join(ADDED)}, which are not in its code; the others are "
        f"{' and '.join(groups)}." + (f" Not measured yet: {', '.join(missing)}." if missing else "")
    )
    return "\n".join(textwrap.wrap(text, 115, break_on_hyphens=False))


def ending(processors: Sequence[str]) -> str:
    """On what it was measured, and with which command."""
    machines = textwrap.wrap(f"Machine: {'; '.join(processors)}, one thread.", 115, break_on_hyphens=False)
    return "\n".join(
        [*machines, "`python benchmarks/classifier_attacks.py` measures what is missing and writes this page."]
    )


def rate_table(lines: Sequence[Line]) -> str:
    """Success over the poison rate."""
    rates = sorted({line["params"]["poison_rate"] for line in lines}, reverse=True)
    rows = [["attack", "data", *(f"{rate * 100:g} %" for rate in rates)]]
    for attack, model in dict.fromkeys((line["attack"], line["model"]) for line in lines):
        own = [line for line in lines if (line["attack"], line["model"]) == (attack, model)]
        at = [[line for line in own if line["params"]["poison_rate"] == rate] for rate in rates]
        rows.append([attack + former(own[0]), DATA[model], *(shown(part, "asr", 2) or "-" for part in at)])
    return markdown(rows)


def success_by_rate(lines: Sequence[Line]) -> dict[float, dict[str, float]]:
    """Rate -> attack -> mean success over seeds."""
    found: dict[float, dict[str, float]] = {}
    for rate, attack in {(line["params"]["poison_rate"], line["attack"]) for line in lines}:
        own = [line for line in lines if (line["params"]["poison_rate"], line["attack"]) == (rate, attack)]
        value = mean(own, "asr")
        if value is not None:
            found.setdefault(rate, {})[attack] = value
    return found


def grouped(lines: Sequence[Line], part: str) -> list[list[Line]]:
    """The lines of a part of the plans, by attack, settings and data; each a group of seeds."""
    found: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        if line["part"] == part:
            found.setdefault((line["attack"], settings(line), line["model"]), []).append(line)
    order = sorted(found, key=lambda key: (key[0], key[1], list(DATA).index(key[2])))
    return [found[key] for key in order]


def write_page(lines: Sequence[Line]) -> Path:
    """Write it."""
    default, paper = grouped(lines, "default"), grouped(lines, "paper")
    rates = [line for line in lines if line["part"] == "rates"]
    success = success_by_rate(rates)
    processors = sorted({f"{line['machine']['processor']}, {line['machine']['cores']} cores" for line in lines})
    PAGE.write_text(
        "# The attacks on image classifiers\n\n"
        f"{HEAD}\n\n"
        f"{origins([own[0]['attack'] for own in default])}\n\n"
        f"{FORMER}\n\n{summary(default)}\n## Against what must hold\n\n"
        "Of the data set on which the attack succeeds more often.\n\n"
        f"{verdicts(default)}\n\n## Defaults\n\n{table(default)}\n\n"
        "## The strength of the papers\n\n"
        f"{STRENGTH}\n\n{table(paper, named=True) if paper else 'Not measured.'}\n\n"
        "## Poison rates\n\n"
        "ASR over the share of the 4,000 training rows that is poisoned (.1 % are 4 rows), all else by default.\n\n"
        f"{rate_table(rates) if rates else 'Not measured.'}\n\n{orderings(success) if rates else ''}\n"
        f"{ending(processors)}\n",
        encoding="utf-8",
    )
    return PAGE
