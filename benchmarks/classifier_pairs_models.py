"""Detectors of models in the pairs: an area over models for each detector and data set, and what they say."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from classifier_pairs_numbers import AREA, attack_of, counts, data_of, is_clean, of_defense, table
from detection_numbers import Pair, area, auroc
from swept import Line

LEAST_BACKDOORED, LEAST_CLEAN = 10, 5
"""So many models of each kind must be judged before an area over models counts."""
LEAST_OF_ATTACK = 2
"""So many models of one attack."""
Scores = dict[str, float]
"""Model -> score; judged more than once, its mean."""


def judges(lines: Sequence[Line]) -> list[str]:
    """The detectors of models: they score the clean or the undefended model, and rows and inputs they do not."""
    named = [line["defense"] for line in lines if "score" in line["backdoored"] and "auroc" not in line["backdoored"]]
    return list(dict.fromkeys(named))


def backdoored(lines: Sequence[Line]) -> Scores:
    """Scores of the models in which an attack works, each once."""
    given = [line for line in lines if counts(line)]
    return _means([(f"{attack_of(line)} {line['seed']}", line["backdoored"]["score"]) for line in given])


def clean(lines: Sequence[Line]) -> Scores:
    """Scores of clean models: that which the attacks start from, once for all seeds, and those of no attack."""
    given = [(str(line["model"]), line["clean"]["score"]) for line in lines if "score" in line.get("clean", {})]
    own = [line for line in lines if is_clean(line)]
    return _means([*given, *((f"{line['model']} {line['seed']}", line["backdoored"]["score"]) for line in own)])


def _means(given: Sequence[tuple[str, float]]) -> Scores:
    found: dict[str, list[float]] = {}
    for name, score in given:
        found.setdefault(name, []).append(score)
    return {name: statistics.mean(scores) for name, scores in found.items()}


def pairs_of(bad: Scores, good: Scores) -> list[Pair]:
    """What an area is computed from."""
    return [*((True, score) for score in bad.values()), *((False, score) for score in good.values())]


def verdict(bad: Scores, good: Scores, least: int = LEAST_BACKDOORED) -> str:
    """Whether a detector reaches its aim over these models."""
    if len(bad) < least or len(good) < LEAST_CLEAN:
        return "too few models"
    return "reached" if auroc(pairs_of(bad, good)) >= AREA else "not reached"


def says(lines: Sequence[Line], row: str) -> str:
    """How many judgements say backdoored, clean, and that the detector cannot tell."""
    given = [line[row] for line in lines if "score" in line.get(row, {})]
    flags = [item.get("verdict") for item in given]
    unsure = sum(flag is None for flag in flags)
    return f"{flags.count(1.0)} / {flags.count(0.0)} / {unsure}" if flags else ""


def own(lines: Sequence[Line], name: str, data: str) -> list[Line]:
    """The lines of a detector on a data set."""
    return [line for line in of_defense(lines, name) if data_of(line) == data and "score" in line["backdoored"]]


def table_of_models(lines: Sequence[Line]) -> str:
    """A row for each detector of models and data set."""
    rows = [["detector", "data", "backdoored", "AUROC", "clean", "aim", "backdoored say", "clean say"]]
    for name in judges(lines):
        for data in dict.fromkeys(data_of(line) for line in of_defense(lines, name)):
            here = own(lines, name, data)
            bad, good = backdoored(here), clean(here)
            none = [line for line in here if is_clean(line)]
            started = [line for line in here if not is_clean(line)]
            judged = [*started, *({"clean": line["backdoored"]} for line in none)]
            rows.append(
                [
                    name,
                    data,
                    str(len(bad)),
                    area(pairs_of(bad, good)),
                    str(len(good)),
                    verdict(bad, good),
                    says([line for line in here if counts(line)], "backdoored"),
                    says(judged, "clean"),
                ]
            )
    return table(rows)


def separating(lines: Sequence[Line], attack: str) -> tuple[list[str], int]:
    """Detectors of models whose area between the models of one attack and clean ones is large enough, and of how many.

    Args:
        lines: complete ones.
        attack: as :func:`classifier_pairs_numbers.attack_of` names it.
    """
    found, measured = [], 0
    for name in judges(lines):
        of_it = [line for line in of_defense(lines, name) if attack_of(line) == attack]
        if not of_it:
            continue
        bad, good = backdoored(of_it), clean(own(lines, name, data_of(of_it[0])))
        word = verdict(bad, good, LEAST_OF_ATTACK)
        measured += word != "too few models"
        found += [name] if word == "reached" else []
    return found, measured


def verdict_words(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Of each detector of models its verdicts on the data sets."""
    found: dict[str, list[str]] = {}
    for name in judges(lines):
        for data in dict.fromkeys(data_of(line) for line in of_defense(lines, name)):
            here = own(lines, name, data)
            found.setdefault(name, []).append(verdict(backdoored(here), clean(here)))
    return found


WORDS = f"""Scores of backdoored models (of attacks with an ASR of at least .95) against those of clean ones of the same
data: the built-in model from which the attacks start, once, and models that were trained without an attack. The area
has its 95 % interval; the aim is an area of at least .90 over at least {LEAST_BACKDOORED} backdoored and
{LEAST_CLEAN} clean models. *Say* counts judgements: backdoored / clean / cannot tell; the built-in model is judged
once for each attack and seed. A detector that is calibrated for other shapes of models cannot tell, and then its scores
alone are compared: `last-layer-scan` ships a calibration for `digits` alone. `free-eagle`, which said clean below its
threshold when this was measured, cannot tell there by now.
"""
