"""The page of pairs of attacks on image classifiers and defenses: how many are measured, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from classifier_pairs_coverage import AIM, ATTACKS, by_attack, by_defense
from classifier_pairs_models import WORDS, table_of_models
from classifier_pairs_numbers import (
    Number,
    after,
    attack_of,
    before,
    cost,
    counts,
    effectiveness,
    final,
    is_clean,
    latest,
    of_attack,
    of_defense,
    ranks,
    reaches,
    shown,
    table,
)
from classifier_pairs_orderings import BOARDS, orderings
from classifier_pairs_state import BOUND, bounds, state
from swept import Line

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "classifier-pairs.md"
OTHER_VICTIMS = ("classifier-pairs-deep", "classifier-pairs-longer")
"""The plans whose pairs have no part in ranks and orderings."""
Columns = dict[str, tuple[Number, int]]


def board(lines: Sequence[Line], number: Number, columns: Columns) -> str:
    """One row for each defense, sorted by its mean rank in ``number``."""
    order = ranks(lines, number)
    rows = [["defense", "rank", "pairs", *columns, "reached"]]
    for defense in sorted(order, key=lambda name: (order[name], name)):
        own = of_defense(lines, defense)
        strong = [line for line in own if counts(line)]
        rows.append(
            [
                defense,
                f"{order[defense]:.1f}",
                str(len(own)),
                *(shown(own, found, digits) for found, digits in columns.values()),
                f"{sum(map(reaches, strong))} of {len(strong)}",
            ]
        )
    return table(rows)


REPAIR: Columns = {
    "DER": (effectiveness, 3),
    "ASR": (after("asr"), 3),
    "ACC": (after("accuracy"), 3),
    "R-Acc": (after("recovered_accuracy"), 3),
    "clean rejected": (after("rejected_clean"), 3),
}
DETECT: Columns = {
    "AUROC": (before("auroc"), 3),
    "TPR": (before("tpr"), 3),
    "FPR": (before("fpr"), 3),
    "FPR on a clean model": (before("fpr", "clean"), 3),
    "F1": (before("f1"), 3),
    "F1 of a random filter": (before("f1_random"), 3),
    "F1 of a perfect filter": (before("f1_perfect"), 3),
}
COSTS: Columns = {
    "clean rows": (cost("clean_samples"), 0),
    "s": (cost("seconds"), 1),
    "CPU s": (cost("processor_seconds"), 1),
    "forward": (cost("forward_passes"), 0),
    "backward": (cost("backward_passes"), 0),
}
BY_ATTACK: Columns = {
    "ASR": (after("asr"), 3),
    "ACC": (after("accuracy"), 3),
    "R-Acc": (after("recovered_accuracy"), 3),
    "DER": (effectiveness, 3),
    "AUROC": (before("auroc"), 3),
    "TPR": (before("tpr"), 3),
    "FPR": (before("fpr"), 3),
}


def costs(lines: Sequence[Line]) -> str:
    """What each defense may see and takes, and of a shared meta classifier what it took."""
    rows = [["defense", "access", *COSTS]]
    for defense in sorted({line["defense"] for line in lines} - {"none"}):
        own = of_defense(lines, defense)
        access = ", ".join(own[0]["access"]) or "none"
        rows.append([defense, access, *(shown(own, number, digits) for number, digits in COSTS.values())])
    shared = {(line["model"], line["seed"]): line["shared"]["seconds"] for line in lines if "shared" in line}
    text = table(rows)
    if shared:
        text += (
            f"\n\nThe meta classifier of `mntd` was made once for each model and seed ({len(shared)} of them, "
            f"{sum(shared.values()) / len(shared):.0f} s each\non average); where it was shared, it is not in the row."
        )
    return text


def attack_tables(lines: Sequence[Line]) -> str:
    """A table for each attack: every defense against it that acts."""
    parts = []
    for attack in dict.fromkeys(map(attack_of, lines)):
        here = of_attack(lines, attack)
        rows = [["defense", "seeds", *BY_ATTACK]]
        for defense in dict.fromkeys(line["defense"] for line in here):
            own = of_defense(here, defense)
            numbers = [shown(own, number, digits) for number, digits in BY_ATTACK.values()]
            if any(numbers):
                rows.append([defense, str(len(own)), *numbers])
        undefended = f"Undefended: ASR {shown(here, before('asr'))}, ACC {shown(here, before('accuracy'))}."
        parts.append(f"### {attack}\n\n{undefended}\n\n{table(rows)}\n")
    return "\n".join(parts)


def write_page(lines: Sequence[Line]) -> Path:
    """Write it."""
    lines = latest(lines)
    complete = [line for line in lines if line["status"] == "complete"]
    attacked = [line for line in complete if not is_clean(line)]
    usual = [line for line in attacked if line["part"] not in OTHER_VICTIMS]
    repairs = [line for line in usual if final(line)]
    detectors = [line for line in usual if "auroc" in line["backdoored"]]
    PAGE.write_text(
        f"{INTRODUCTION}\n{state(lines)}\n## Published orderings\n\n{orderings(usual)}\n{BOARDS}\n"
        f"## What is reached, by defense\n\n{AIM}\n{by_defense(complete)}\n"
        f"## What is reached, by attack\n\n{ATTACKS}\n{by_attack(complete)}\n"
        f"## Repairs and purified inputs, by the mean rank of DER\n\n{board(repairs, effectiveness, REPAIR)}\n\n"
        f"## Detectors of rows and inputs, by the mean rank of AUROC\n\n{board(detectors, before('auroc'), DETECT)}\n\n"
        f"## Detectors of models\n\n{WORDS}\n{table_of_models(complete)}\n\n"
        f"## Points of the pruners\n\n{BOUND}\n{bounds(usual)}\n\n"
        f"## Access and cost\n\n{COST}\n{costs(complete)}\n\n"
        f"## Attack by attack\n\n{attack_tables(complete)}\n{END}",
        encoding="utf-8",
    )
    return PAGE


INTRODUCTION = """# Attacks on image classifiers against defenses

Every attack and every defense of the task, each with its defaults: no test labels, no knowledge of the attack, only the
declared access, clean rows of the reserve (as many as a tenth of the training rows), the threshold of a detector from
that reserve. A detector of models that says clean leaves the model as it is. The network is the kit's small CNN, but
for the plans of a deeper network and of longer training, whose pairs have no part in ranks and orderings. The data are
declared once for each attack. Attacks that poison no training row (`bit-flip`, `trojannet`, `bad-encoder`) are paired
with the defenses that neither look at training rows nor train the model.

Means over attacks, then over seeds, ± half of the 95 % t interval over seeds (none for one seed). A mean over few
attacks is no ranking of the methods: look at how many pairs there are. Where inputs are turned away, ASR, ACC and R-Acc
are those of what passes (a rejected trigger is no success), but DER and what is reached count a clean input that is
turned away as not classified.
"""
COST = """*Clean rows* are those that the defense was handed, whether or not it used all of them; *s* and *CPU s* are
the time of its own stages, with one thread; *forward* and *backward* count samples that passed a network.
"""
END = """*no attack* is a model trained on clean rows and defended all the same. Detectors that judge models and change
nothing have no row here.

`python benchmarks/classifier_pairs.py` measures what is missing and writes this page; with `--page` it only writes it.
`bdm sweep benchmarks/plans/classifier-pairs.yaml --dry-run` lists the pairs.
"""
