"""The page of pairs of attacks on image classifiers and defenses: how many are measured, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from classifier_pairs_boards import BOARDS
from classifier_pairs_coverage import ATTACKS, by_attack, by_defense
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
    loss,
    of_attack,
    of_defense,
    ranks,
    reaches,
    shown,
    table,
)
from classifier_pairs_orderings import orderings
from classifier_pairs_state import BESIDE, BOUND, bounds, loops, state
from swept import Line

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "classifier-pairs.md"
OTHER_VICTIMS = ("classifier-pairs-deep", "classifier-pairs-longer")
"""The plans whose pairs have no part in ranks and orderings."""
Columns = dict[str, tuple[Number, int]]


def board(
    lines: Sequence[Line],
    number: Number,
    columns: Columns,
    unpoisoned: Sequence[Line] = (),
    perfect: Sequence[str] = (),
) -> str:
    """One row for each defense, sorted by its mean rank in ``number``; `perfect`: cells of a row above all others.

    Where there are ``unpoisoned`` lines, of a model that has no backdoor, what each defense costs there is a column.
    """
    order = ranks(lines, number)
    rows = [["defense", "rank", "pairs", *columns, LOST, "reached"]]
    if perfect:
        rows.append(["*perfect filter*", "", "", *perfect, *[""] * (len(columns) - len(perfect)), "", ""])
    for defense in sorted(order, key=lambda name: (order[name], name)):
        own = of_defense(lines, defense)
        strong = [line for line in own if counts(line)]
        rows.append(
            [
                defense,
                f"{order[defense]:.1f}",
                str(len(own)),
                *(shown(own, found, digits) for found, digits in columns.values()),
                shown(of_defense(unpoisoned, defense), loss),
                f"{sum(map(reaches, strong))} of {len(strong)}",
            ]
        )
    return table(rows)


LOST = "ACC lost on a clean model"
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


UNATTACKED: Columns = {
    "ACC": (after("accuracy"), 3),
    "ACC lost": (loss, 3),
    "clean rejected": (after("rejected_clean"), 3),
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
        columns = UNATTACKED if is_clean(here[0]) else BY_ATTACK
        rows = [["defense", "seeds", *columns]]
        for defense in dict.fromkeys(line["defense"] for line in here):
            own = of_defense(here, defense)
            numbers = [shown(own, number, digits) for number, digits in columns.values()]
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
    unpoisoned = [line for line in complete if is_clean(line) and final(line)]
    boards = (
        board(repairs, effectiveness, REPAIR, unpoisoned, perfect_filter(detectors)),
        board(detectors, before("auroc"), DETECT, perfect=["1", "1", "0"]),
    )
    PAGE.write_text(
        f"{INTRODUCTION}\n{OWN}\n## How much is measured\n\n{state(lines)}\n"
        f"## What is reached, by defense\n\n{by_defense(complete)}\n"
        f"## What is reached, by attack\n\n{ATTACKS}\n{by_attack(complete)}\n"
        f"## Repairs and purified inputs, by the mean rank of DER\n\n{PERFECT}\n{boards[0]}\n\n"
        f"## Detectors of rows and inputs, by the mean rank of AUROC\n\n{boards[1]}\n\n"
        f"## Detectors of models\n\n{WORDS}\n{table_of_models(complete)}\n\n"
        f"## Published orderings\n\n{orderings(usual)}\n{BOARDS}\n"
        f"## Points of the pruners\n\n{BOUND}\n{bounds(usual)}\n\n"
        f"## Access and cost\n\n{COST}\n{costs(complete)}\n\n"
        f"## Beside the released loops\n\n{BESIDE}\n{loops()}\n\n"
        f"## Attack by attack\n\n{attack_tables(complete)}\n{END}",
        encoding="utf-8",
    )
    return PAGE


def perfect_filter(lines: Sequence[Line]) -> list[str]:
    """DER, ASR and ACC of a model that is trained without one poisoned row: those of the clean model."""
    own = [line for line in lines if "asr" in line.get("clean", {})]
    numbers: list[Number] = [_perfect_effectiveness, before("asr", "clean"), before("accuracy", "clean")]
    return [shown(own, number) for number in numbers]


def _perfect_effectiveness(line: Line) -> float | None:
    return effectiveness({**line, "repaired": line["clean"]})


INTRODUCTION = """# Attacks on image classifiers against defenses

Every attack against every defense of the task, each with its defaults: no test labels, no knowledge of the attack, only
the declared access, clean rows of the reserve (rows that are never poisoned nor trained on; as many as a tenth of the
training rows). Detectors have their threshold from that reserve at a false positive rate of 5 %; but `abl` and `d-br`
flag a share that is set beforehand, `scale-up-data-free`, `neural-cleanse` and `tabor` have a fixed threshold. A
detector of models that says clean leaves the model as it is. The network is the kit's small CNN, but for the plans of a
deeper network and of longer training, whose pairs have no part in ranks and orderings. The data are declared once for
each attack. Attacks that poison no training row (`bit-flip`, `trojannet`, `bad-encoder`) are paired with the defenses
that neither look at training rows nor train the model.

ACC is the accuracy on clean rows, ASR the share of triggered rows of other classes that get the target, R-Acc the share
of them that get their own class. DER is (fall of the ASR - fall of the ACC + 1) / 2, where a rise is no fall: .5 is no
effect, 1 the best. A repair *reaches* its aim with an ASR of at most .10 at a loss of at most .05 of ACC, a detector
of rows or inputs with an AUROC of at least .90; attacks with an ASR below .95 do not count. Where inputs are turned
away, ASR, ACC and R-Acc are those of what passes (a rejected trigger is no success), but DER and what is reached count
a clean input that is turned away as not classified.

Means over attacks, then over seeds, ± half of the 95 % t interval over seeds (none for one seed). With two or three
seeds it is wide and may pass 0 or 1: read it as *not known*. A mean over few attacks is no ranking of the methods: look
at how many pairs there are.

Pairs on `clutter` (the deeper and the wide network) are of the code before the two drawings of a digit stayed on one
side of what a defense holds out of its reserve.
"""
OWN = """## Add a defense of your own

```
bdm sweep benchmarks/plans/classifier-pairs.yaml --defense mine,sau,fine-tune --seeds 0 --out runs --dry-run
bdm sweep benchmarks/plans/classifier-pairs.yaml --defense mine,sau,fine-tune --seeds 0 --out runs
bdm results runs --ranks defense --metric attack-success
```

runs it and two others against the attacks of the first plan; leave `--dry-run` out when the list is what you want.
`bdm results runs --pivot attack,defense --metric attack-success` and `--compare mine,sau` say more. `python
benchmarks/classifier_pairs.py` is for maintainers: it goes on with this table, for hours, and writes this page and the
section "In the table of pairs" of the defenses' READMEs; `--page` only writes.
"""
PERFECT = """*Perfect filter*: what a model has that is trained without one poisoned row, in place of the clean model.
*ACC lost on a clean model*: what the defense costs where there is nothing to find.
"""
COST = """*Clean rows* are those that the defense was handed, whether or not it used all of them; *s* and *CPU s* are
the time of its own stages, with one thread; *forward* and *backward* count samples that passed a network.
"""
END = """*no attack* is a model trained on clean rows and defended all the same. Detectors that judge models and change
nothing have no row here.
"""
