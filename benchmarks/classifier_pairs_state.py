"""How many of the planned pairs are measured, refused and failed, and how fast; which points pruners could have had."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from classifier_pairs_coverage import words
from classifier_pairs_numbers import after, attack_of, data_of, of_bound, of_defense, shown, status_of, table
from swept import PLANS, Line

from bdm_sweep import read_plan

SPEED = Path(__file__).parent / "results" / "classifier_pairs_speed.json"
PARTS = {
    "classifier-pairs": "all attacks, about 5 %",
    "classifier-pairs-rates": "four attacks at 10, 1 and .1 %",
    "classifier-pairs-third-seed": "four attacks, a third seed",
    "classifier-pairs-clean": "clean models for the detectors of models",
    "classifier-pairs-no-rows": "three attacks that poison no row",
    "classifier-pairs-deep": "a deeper network",
    "classifier-pairs-longer": "longer training, three networks",
}
LOOPS = Path(__file__).parent / "results" / "classifier_loops.json"
AN_HOUR = 400
Speed = Mapping[str, Mapping[str, float]]


def read_speed(path: Path) -> Speed:
    """Workers -> pairs, failed, refused, seconds. A file from before there was a choice of workers had one."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {"1": found} if "seconds" in found else found


def said_speed(speed: Speed) -> str:
    """How many pairs an hour, for each number of workers."""
    parts = []
    for workers, own in sorted(speed.items()):
        rate = 3600 * own["pairs"] / own["seconds"] if own["seconds"] else 0.0
        parts.append(
            f"{own['pairs']:.0f} pairs in {own['seconds'] / 60:.0f} minutes with {workers} worker"
            f"{'' if workers == '1' else 's'} of one thread each, {rate:.0f} an hour"
        )
    return f"Measured: {'; '.join(parts)} (at least {AN_HOUR} are asked for on two cores)." if parts else ""


def processor_share(lines: Sequence[Line]) -> float | None:
    """Processor seconds of the defenses' stages, as a share of their seconds; None where no line has both."""
    both = [line["cost"] for line in lines if line["cost"].get("processor_seconds") and line["cost"].get("seconds")]
    spent = sum(item["seconds"] for item in both)
    return sum(item["processor_seconds"] for item in both) / spent if spent else None


def state(lines: Sequence[Line]) -> str:
    """How many of the planned pairs are measured, and how fast."""
    rows = [["plan", "planned", "measured", "refused", "failed"]]
    for part, about in PARTS.items():
        own = [status_of(line) for line in lines if line["part"] == part]
        planned = read_plan(PLANS / f"{part}.yaml").combinations()
        counted = [own.count(word) for word in ("complete", "refused", "failed")]
        rows.append([f"`{part}`: {about}", str(planned), *map(str, counted)])
    speed = said_speed(read_speed(SPEED))
    share = processor_share([line for line in lines if line["status"] == "complete"])
    if share is not None:
        speed += f" Of the time that the defenses' stages took, {share:.0%} was processor time; the rest was waiting."
    text = f"{table(rows)}\n\n{words(speed.strip())}\n\n{refusals(lines)}"
    return f"{text}\n{failures(lines)}"


def failures(lines: Sequence[Line]) -> str:
    """What failed, once for each attack and reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if status_of(line) == "failed":
            found.setdefault((attack_of(line), one_line(line)), []).append(f"{line['defense']} ({line['seed']})")
    if not found:
        return "No pair failed.\n"
    rows = [["attack", "defenses (seeds)", "why"]]
    rows += [[attack, ", ".join(names), why] for (attack, why), names in found.items()]
    return f"Failed, to be tried again:\n\n{table(rows)}\n"


def one_line(line: Line) -> str:
    """Why a pair was refused or failed, so that it fits a table."""
    return str(line["error"]).replace("|", "/")


def refusals(lines: Sequence[Line]) -> str:
    """What was refused, once for each defense, data and reason."""
    found: dict[tuple[str, str, str], int] = {}
    for line in lines:
        if status_of(line) == "refused":
            key = (str(line["defense"]), data_of(line), one_line(line))
            found[key] = found.get(key, 0) + 1
    if not found:
        return "No pair was refused.\n"
    rows = [["defense", "data", "pairs", "why"]]
    rows += [[name, data, str(count), why] for (name, data, why), count in sorted(found.items())]
    return f"Refused in one line, before anything is trained, and not tried again:\n\n{table(rows)}\n"


def bounds(lines: Sequence[Line]) -> str:
    """What each pruner left, beside its candidate that does best on test rows. `lines`: complete ones of attacks."""
    pruned = [line for line in lines if line.get("upper_bound")]
    rows = [["pruner", "pairs", "ASR", "ACC", "best ASR", "best ACC"]]
    for name in dict.fromkeys(line["defense"] for line in pruned):
        own = of_defense(pruned, name)
        numbers = [after("asr"), after("accuracy"), of_bound("asr"), of_bound("accuracy")]
        rows.append([name, str(len(own)), *(shown(own, number) for number in numbers)])
    return table(rows)


def loops() -> str:
    """How long defenses take beside the released loops."""
    found = json.loads(LOOPS.read_text(encoding="utf-8"))
    rows = [["network", "defense", "steps", "CPU s", "released, CPU s", "ratio"]]
    for item in found:
        seconds = [f"{item[name]:.2f}" for name in ("seconds", "seconds_released", "ratio")]
        rows.append([item["model"], item["method"], str(item["steps"]), *seconds])
    return table(rows)


BESIDE = """At equal iterations, rows and network, one thread, `python benchmarks/classifier_loops.py`: ours as a stage
of a run calls it, with what it reads and writes, theirs written after the released code. The fastest of some rounds by
turns; a ratio above 1 is a defense that is slower, and a few hundredths are within the noise of the machine.
"""
BOUND = """What the pruner left at its own point (chosen by accuracy on held-out clean rows of the reserve, further
tuning included), and *best*: of its candidates the one of the highest DER on test rows, of pruning alone. No defender
can choose it, so it is no result. `bdm-metric-operating-point` looks at 11 candidates and 300 test rows at most, by
DER and not by the lowest ASR: it is about what the ranking of units allows, and no strict bound. A finer search, or
tuning after the pruning, may do better.
"""
