"""Pairs of a text-to-image attack and a defense: those of the plan, and the lines of those that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from swept import PLANS, Line
from text_to_image import Case

from bdm_sweep import Plan
from bdm_sweep.plan import Method

LINES = Path(__file__).parent / "results" / "text_to_image_defenses.jsonl"
FINE_TUNED = LINES.with_name("text_to_image_fine_tuned.jsonl")
PLAN = PLANS / "text-to-image-defenses.yaml"
TAKES = 0.5
"""An attack of a lower success has nothing to find."""


def setting_of(line: Line) -> tuple[str, str]:
    """Attack and defense."""
    return attack_of(line), label_of(line)


def latest(lines: Sequence[Line]) -> list[Line]:
    """Of each pair its last line."""
    return list({line["run"]: line for line in lines}.values())


def taken(lines: Sequence[Line]) -> set[tuple[str, int]]:
    """Attacks and seeds with a success of at least .50 without defense: below, there is nothing to find or repair."""
    return {
        (attack_of(line), line["seed"])
        for line in lines
        if line["defense"] == "none" and line.get("backdoored", {}).get("asr", 0.0) >= TAKES
    }


def of_taken(lines: Sequence[Line]) -> list[Line]:
    """The lines of attacks and seeds that took."""
    known = taken(lines)
    return [line for line in lines if (attack_of(line), line["seed"]) in known]


def attack_of(line: Line) -> str:
    """The attack with its mode."""
    return Case(str(line["attack"]), line["params"]).name


def label_of(line: Line) -> str:
    """The defense with its settings: those of STEDF are the trigger, which differs from attack to attack.

    >>> label_of({"defense": "daa", "defense_params": {"method": "system", "length_bias": True}})
    'daa (system, length_bias)'
    """
    return named(str(line["defense"]), line["defense_params"])


def named(defense: str, params: dict[str, Any]) -> str:
    """As :func:`label_of`."""
    words = []
    for name, value in params.items() if defense != "stedf" else ():
        words.append(name if value is True else "+".join(value) if isinstance(value, list) else str(value))
    return f"{defense} ({', '.join(words)})" if words else defense


def label(method: Method) -> str:
    """As :func:`label_of`, of the plan."""
    return named(str(method.name), method.params)


def planned(plan: Plan) -> list[tuple[Case, str]]:
    """Attacks and defenses of the plan that no rule leaves out."""

    def left_out(attack: Method, defense: Method) -> bool:
        facts = {"attack": attack.name, "defense": defense.name}
        return any(all(facts[key] in listed(wanted) for key, wanted in rule.items()) for rule in plan.exclude)

    pairs = ((one, other) for one, other in product(plan.attacks, plan.defenses) if not left_out(one, other))
    return [(Case(str(attack.name), attack.params), label(defense)) for attack, defense in pairs]


def listed(value: Any) -> list[Any]:
    """A list, or a value as a list."""
    return value if isinstance(value, list) else [value]
