"""Numbers of the pairs of attacks on image classifiers and defenses: of a line, means, ranks, what is reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from classifier_attacks_page import DATA, settings
from detection_numbers import markdown
from swept import Line

from bdm_results.intervals import Estimate

STRONG, STOPPED, LOSS, AREA = 0.95, 0.10, 0.05, 0.90
"""An attack that counts has at least this ASR; a repair reaches its aim at most at this ASR and loss of accuracy; a
detector at least at this AUROC."""
CONTROLS = ("none", "random-filter")
"""What is no defense: no one asks whether it reaches anything."""
Number = Callable[[Line], float | None]


def latest(lines: Sequence[Line]) -> list[Line]:
    """Of each pair its last line."""
    return list({line["run"]: line for line in lines}.values())


def status_of(line: Line) -> str:
    """``complete``, ``refused`` (the defense cannot work on this model, which it says before anything is trained), or
    ``failed``. Lines from before there was ``refused`` have the refusal in their error.
    """
    error, name = str(line.get("error", "")), f"defense:{line['defense']}"
    if line["status"] == "failed" and error.startswith(f"{name} ") and not error.startswith(f"{name} failed"):
        return "refused" if "needs at least" in error else "failed"
    return str(line["status"])


def is_clean(line: Line) -> bool:
    """Whether nothing was poisoned: the model is clean, and so is what is defended."""
    return bool(line["params"].get("poison_rate") == 0)


def data_of(line: Line) -> str:
    """The data of a line's model; of a model folder its name."""
    model = str(line["model"])
    return DATA.get(model, model.rpartition("/")[2])


def attack_of(line: Line) -> str:
    """The attack with its settings and data."""
    given = settings(line)
    name = "no attack" if is_clean(line) else str(line["attack"]) + (f" ({given})" if given else "")
    return f"{name}, {data_of(line)}"


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


def of_bound(name: str) -> Number:
    """A number of a pruner's candidate that does best on test rows."""
    return lambda line: line.get("upper_bound", {}).get(name)


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


def mean(lines: Sequence[Line], number: Number) -> float | None:
    """The mean alone; None without a number."""
    found = estimate(lines, number)
    return None if found is None else found.mean


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


def loss(line: Line) -> float | None:
    """Accuracy of the undefended model less that of what the defense leaves."""
    accuracy = served(line)
    return None if accuracy is None else float(line["backdoored"]["accuracy"] - accuracy)


def stops(lines: Sequence[Line]) -> bool:
    """Whether what a defense leaves has on average an ASR of at most `STOPPED` at a loss of at most `LOSS`."""
    success, lost = mean(lines, after("asr")), mean(lines, loss)
    return success is not None and lost is not None and success <= STOPPED and lost <= LOSS


def separates(lines: Sequence[Line]) -> bool:
    """Whether a detector of rows or inputs has on average an AUROC of at least `AREA`."""
    return (mean(lines, before("auroc")) or 0.0) >= AREA


def reaches(line: Line) -> bool:
    """Whether a pair is what the papers claim: the backdoor is gone at little loss, or the detector separates."""
    return stops([line]) or separates([line])


def counts(line: Line) -> bool:
    """Whether the attack of a pair works at all."""
    return not is_clean(line) and (line["backdoored"].get("asr") or 0.0) >= STRONG


def acts(line: Line) -> bool:
    """Whether a defense changes something or judges rows or inputs; else it judges models alone."""
    return final(line) is not None or "auroc" in line["backdoored"]


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


def of_defense(lines: Sequence[Line], name: str) -> list[Line]:
    """The lines of a defense."""
    return [line for line in lines if line["defense"] == name]


def of_attack(lines: Sequence[Line], name: str) -> list[Line]:
    """The lines of an attack with its settings and data."""
    return [line for line in lines if attack_of(line) == name]


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table without the columns that are empty; "Not measured." without rows."""
    if len(rows) < 2:
        return "Not measured."
    kept = [index for index in range(len(rows[0])) if any(row[index] for row in rows[1:])]
    return markdown([[row[index] for index in kept] for row in rows])
