"""What is reached in the pairs: by which defense on which attack, and which attack nothing stops."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from classifier_attacks_page import DATA
from classifier_pairs_models import separating, verdict_words
from classifier_pairs_numbers import (
    CONTROLS,
    STRONG,
    acts,
    attack_of,
    before,
    counts,
    final,
    is_clean,
    mean,
    of_attack,
    of_defense,
    reaches,
    separates,
    shown,
    stops,
    table,
)
from swept import Line

SEEDS, DEFENSES = 3, 30
"""So many seeds, and so many defenses that reach their aim over these, are asked for."""


def words(text: str) -> str:
    """A paragraph in lines."""
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def short(attack: str) -> str:
    """An attack's name without its data, of which each attack has one; other networks than the usual are named.

    >>> short("badnets, mnist-5k"), short("badnets (`epochs` 100), clutter-cnn-wide")
    ('badnets', 'badnets (`epochs` 100) on clutter-cnn-wide')
    """
    name, _, data = attack.rpartition(", ")
    return name if data in DATA.values() else f"{name} on {data}"


def by_setting(lines: Sequence[Line], name: str) -> dict[str, list[Line]]:
    """Attack that counts -> the lines of a defense on it."""
    own = [line for line in of_defense(lines, name) if counts(line)]
    return {attack: of_attack(own, attack) for attack in dict.fromkeys(map(attack_of, own))}


def hits(lines: Sequence[Line], name: str) -> dict[str, tuple[int, int]]:
    """Attack that counts -> in how many seeds a defense reaches its aim on it, and of how many."""
    return {attack: (sum(map(reaches, here)), len(here)) for attack, here in by_setting(lines, name).items()}


def reached_on_average(lines: Sequence[Line]) -> bool:
    """Whether the means over at least `SEEDS` seeds reach the aim."""
    return len(lines) >= SEEDS and (stops(lines) or separates(lines))


def by_defense(lines: Sequence[Line]) -> str:
    """Which defenses reach their aim on some attack, and which on none so far; controls and detectors of models apart.

    Args:
        lines: complete ones.
    """
    names = sorted({line["defense"] for line in lines if counts(line) and acts(line)} - set(CONTROLS))
    found = {name: hits(lines, name) for name in names}
    rows = [["defense", "in every seed", "in some seed", "of attacks", "reached on, in so many of the seeds"]]
    for name, own in found.items():
        some = [f"{short(attack)} {hit}/{seeds}" for attack, (hit, seeds) in own.items() if hit]
        if some:
            whole = sum(hit == seeds for hit, seeds in own.values())
            rows.append([name, str(whole), str(len(some)), str(len(own)), "; ".join(some)])
    all_seeds = [name for name, own in found.items() if any(hit == seeds for hit, seeds in own.values())]
    enough = [
        name for name, own in found.items() if any(hit == seeds and seeds >= SEEDS for hit, seeds in own.values())
    ]
    on_average = [name for name in names if any(map(reached_on_average, by_setting(lines, name).values()))]
    missed = [name for name, own in found.items() if not any(hit for hit, _ in own.values())]
    judged = [name for name, verdicts in verdict_words(lines).items() if "reached" in verdicts and name not in enough]
    text = (
        f"Of {len(names)} defenses (controls left out; strip and strip-rows, clp and clp-swept, scale-up and "
        f"scale-up-data-free count apart) {len(names) - len(missed)} reach their aim in some seed of some attack, "
        f"{len(all_seeds)} in every measured seed of at least one attack, and {len(enough)} of these over {SEEDS} "
        f"seeds or more. With detectors of models that reach it over models ({', '.join(judged) or 'none'}; see there) "
        f"these are {len(enough) + len(judged)} (at least {DEFENSES} are asked for). In the mean over {SEEDS} seeds or "
        f"more {len(on_average)} reach it. Tried and not reached on any attack so far: {', '.join(missed) or 'none'}."
    )
    return f"{table(rows)}\n\n{words(text)}\n"


def by_attack(lines: Sequence[Line]) -> str:
    """For each attack what stops it.

    Args:
        lines: complete ones.
    """
    rows = [["attack", "ASR", "stopped by", "rows or inputs told apart by", "models told apart by"]]
    unstopped = []
    attacks = dict.fromkeys(attack_of(line) for line in lines if not is_clean(line))
    for attack in attacks:
        here = [line for line in of_attack(lines, attack) if line["defense"] not in CONTROLS]
        names = list(dict.fromkeys(line["defense"] for line in here))
        repairs = [name for name in names if any(map(final, of_defense(here, name)))]
        detectors = [name for name in names if any("auroc" in line["backdoored"] for line in of_defense(here, name))]
        stopping = [name for name in repairs if stops(of_defense(here, name))]
        telling = [name for name in detectors if separates(of_defense(here, name))]
        models, judged = separating(lines, attack)
        every = of_attack(lines, attack)
        if not (stopping or telling or models):
            unstopped.append(attack)
        cells = [listed(stopping, len(repairs)), listed(telling, len(detectors)), listed(models, judged)]
        weak = " (weak)" if (mean(every, before("asr")) or 0.0) < STRONG else ""
        rows.append([attack, shown(every, before("asr")) + weak, *cells])
    text = f"Stopped and told apart by nothing that was measured: {'; '.join(unstopped) or 'none'}."
    return f"{table(rows)}\n\n{words(text)}\n"


def listed(names: Sequence[str], measured: int) -> str:
    """Names, with how many were measured."""
    if not measured:
        return "none measured"
    return f"{', '.join(names)} ({len(names)} of {measured})" if names else f"none of {measured} measured"


ATTACKS = """Means over the seeds against the same bounds. *Weak*: the ASR is below .95, so that little has to be
stopped.
"""
