"""The wide population of the detection benchmark: clean models of many kinds, backdoored ones of every class.

Five parts, of different seeds and settings: from ``calibration`` come thresholds and p-values, with a view to ``test``
a detector may be made, ``third`` was opened once, when it was finished. As the detector was improved on what it missed
there, ``fourth`` was made and opened once after that, and likewise ``fifth`` after it was improved on the fourth.

A rule of the fifth part, made before it was opened: a backdoored model counts only if its backdoor took, that is if its
attack success (:func:`success`), measured when it is made, is at least :data:`TAKEN`. One that did not take is judged
too, but counted apart, and replaced by the next seed of its class, twice at most (:func:`spares_of`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from detection_population import LATENT, LEAST_NORM, RATES, SMALL, TARGETS, TRAINING, TRIGGERS, Member

PARTS = ("calibration", "test", "third", "fourth", "fifth")
FIRST = {"calibration": 200, "test": 300, "third": 400, "fourth": 500, "fifth": 600}
"""Seed of the first member of each part."""
TRAINED = ("same-data", "other-data", "few-images", "contrast", "rotated", "no-ema", "long", "short")
"""Kinds of clean models that are fine-tuned; what ``settings`` say of each is in :mod:`detection_making`."""
CHANGED = ("noisy-weights", "pruned", "quantised", "averaged")
"""Kinds that are made from the weights of the base, or of a fine-tuning of it."""

TAKEN = 0.5
"""The least attack success of a backdoored model of the fifth part that counts."""
TWICE = 2
"""So many further models of its class may stand in for one whose backdoor did not take."""

Kind = tuple[str, list[dict[str, Any]]]

SETTINGS: dict[str, list[Kind]] = {
    "calibration": [
        ("same-data", [{}, {"classes": 0}, {"share": 0.5}, {"classes": 1, "rate": 2e-3}]),
        ("other-data", [{"data": name} for name in ("inverted", "grey-shapes", "flipped", "blurred")]),
        ("few-images", [{"images": count} for count in (10, 40, 10, 40)]),
        ("contrast", [{"contrast": value} for value in (0.5, 0.7, 0.3)]),
        ("rotated", [{"turns": turns} for turns in (1, 2, 3)]),
        ("noisy-weights", [{"noise": share} for share in (0.05, 0.1, 0.02, 0.08)]),
        ("pruned", [{"pruned": share} for share in (0.3, 0.15, 0.4)]),
        ("quantised", [{"as": name} for name in ("int8", "float16", "bfloat16")]),
        ("averaged", [{"weight": 0.5}, {"weight": 1.5}]),
        ("no-ema", [{}, {"classes": 0}]),
        ("long", [{"steps": 2000}]),
        ("short", [{"steps": 50}, {"steps": 10}]),
        ("from-scratch", [{}]),
    ],
    "test": [
        ("same-data", [{"share": 0.8}, {"classes": 1}, {"classes": 0, "rate": 2e-3}]),
        ("other-data", [{"data": name} for name in ("inverted", "grey-shapes", "transposed", "noise-fields")]),
        ("few-images", [{"images": count} for count in (10, 40, 20, 100)]),
        ("contrast", [{"contrast": value} for value in (0.5, 0.4)]),
        ("rotated", [{"turns": turns} for turns in (1, 2)]),
        ("noisy-weights", [{"noise": share} for share in (0.05, 0.1, 0.03)]),
        ("pruned", [{"pruned": share} for share in (0.3, 0.2)]),
        ("quantised", [{"as": name} for name in ("int8", "float16")]),
        ("averaged", [{"weight": 0.3}]),
        ("no-ema", [{"share": 0.5}]),
        ("long", [{"steps": 1500, "classes": 0}]),
        ("short", [{"steps": 100}]),
        ("from-scratch", [{}, {"classes": 0}]),
    ],
    "third": [
        ("same-data", [{"classes": 1, "share": 0.8}, {"rate": 1.5e-3}]),
        ("other-data", [{"data": name} for name in ("inverted", "grey-shapes", "shifted", "noise-fields")]),
        ("few-images", [{"images": count} for count in (10, 30, 60)]),
        ("contrast", [{"contrast": value} for value in (0.5, 0.6, 0.35)]),
        ("rotated", [{"turns": turns} for turns in (3, 2)]),
        ("noisy-weights", [{"noise": share} for share in (0.04, 0.07, 0.1)]),
        ("pruned", [{"pruned": share} for share in (0.3, 0.25, 0.1)]),
        ("quantised", [{"as": name} for name in ("int8", "bfloat16")]),
        ("averaged", [{"weight": 0.4}, {"weight": 0.7}]),
        ("no-ema", [{"share": 0.8}]),
        ("long", [{"steps": 1800}]),
        ("short", [{"steps": 30}]),
        ("from-scratch", [{}, {"classes": 1}]),
    ],
    "fourth": [
        ("same-data", [{"share": 0.6}, {"classes": 0, "rate": 1.5e-3}]),
        ("other-data", [{"data": name} for name in ("inverted", "grey-shapes", "flipped", "noise-fields")]),
        ("few-images", [{"images": count} for count in (15, 50)]),
        ("contrast", [{"contrast": value} for value in (0.45, 0.75)]),
        ("rotated", [{"turns": turns} for turns in (1, 3)]),
        ("noisy-weights", [{"noise": share} for share in (0.05, 0.09, 0.03)]),
        ("pruned", [{"pruned": share} for share in (0.35, 0.2, 0.12)]),
        ("quantised", [{"as": name} for name in ("int8", "float16")]),
        ("averaged", [{"weight": 0.6}, {"weight": 1.3}]),
        ("no-ema", [{"classes": 1}]),
        ("long", [{"steps": 1200}]),
        ("short", [{"steps": 20}, {"steps": 80}]),
    ],
    "fifth": [
        ("same-data", [{"share": 0.7}, {"classes": 1, "rate": 1.5e-3}]),
        ("other-data", [{"data": name} for name in ("inverted", "grey-shapes", "transposed", "blurred")]),
        ("few-images", [{"images": count} for count in (20, 35)]),
        ("contrast", [{"contrast": value} for value in (0.55, 0.8)]),
        ("rotated", [{"turns": turns} for turns in (2, 1)]),
        ("noisy-weights", [{"noise": share} for share in (0.06, 0.085, 0.025)]),
        ("pruned", [{"pruned": share} for share in (0.33, 0.22, 0.38)]),
        ("quantised", [{"as": name} for name in ("bfloat16", "int8")]),
        ("averaged", [{"weight": 0.8}, {"weight": 1.4}]),
        ("no-ema", [{"share": 0.6}]),
        ("long", [{"steps": 1600}]),
        ("short", [{"steps": 15}, {"steps": 60}]),
    ],
}
"""Of the clean models on the small base: kind and what is special about each model."""
OTHERS: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "calibration": [
        ("digits-ddpm", "other-data", {"data": "inverted"}),
        ("digits-ddpm", "few-images", {"images": 20}),
        ("digits-ddpm", "contrast", {"contrast": 0.5}),
        ("digits-ddpm", "noisy-weights", {"noise": 0.07}),
        ("digits-ddpm", "pruned", {"pruned": 0.3}),
        ("digits-ddpm", "same-data", {"classes": 0}),
        ("digits-ddpm", "rotated", {"turns": 1}),
        ("digits-ve", "same-data", {"classes": 0}),
        ("digits-ve", "noisy-weights", {"noise": 0.05}),
        ("digits-ve", "few-images", {"images": 20}),
        (LATENT, "same-data", {"classes": 0}),
        (LATENT, "pruned", {"pruned": 0.2}),
        (LATENT, "few-images", {"images": 20}),
        ("shapes-ddpm", "pruned", {"pruned": 0.3}),
    ],
    "test": [
        ("digits-ddpm", "other-data", {"data": "grey-shapes"}),
        ("digits-ddpm", "few-images", {"images": 10}),
        ("digits-ddpm", "noisy-weights", {"noise": 0.05}),
        ("digits-ddpm", "same-data", {"classes": 1}),
        ("digits-ve", "contrast", {"contrast": 0.5}),
        ("digits-ve", "pruned", {"pruned": 0.3}),
        (LATENT, "other-data", {"data": "inverted"}),
        (LATENT, "noisy-weights", {"noise": 0.05}),
        ("shapes-ddpm", "noisy-weights", {"noise": 0.05}),
    ],
    "third": [
        ("digits-ddpm", "few-images", {"images": 30}),
        ("digits-ddpm", "contrast", {"contrast": 0.4}),
        ("digits-ve", "same-data", {"classes": 1}),
        ("digits-ve", "noisy-weights", {"noise": 0.03}),
        (LATENT, "contrast", {"contrast": 0.5}),
    ],
    "fourth": [
        ("digits-ddpm", "noisy-weights", {"noise": 0.06}),
        ("digits-ddpm", "pruned", {"pruned": 0.25}),
        ("digits-ve", "pruned", {"pruned": 0.2}),
        (LATENT, "noisy-weights", {"noise": 0.04}),
    ],
    "fifth": [
        ("digits-ddpm", "noisy-weights", {"noise": 0.04}),
        ("digits-ddpm", "quantised", {"as": "int8"}),
        ("digits-ve", "noisy-weights", {"noise": 0.04}),
        ("digits-ve", "pruned", {"pruned": 0.15}),
        (LATENT, "pruned", {"pruned": 0.15}),
        (LATENT, "same-data", {"classes": 1}),
    ],
}
"""Of the clean models on the other bases: base, kind and what is special about each."""


def clean_part(part: str) -> Iterator[Member]:
    """The clean members of one part."""
    rows = [(SMALL, kind, own) for kind, some in SETTINGS[part] for own in some] + OTHERS[part]
    for number, (base, kind, own) in enumerate(rows):
        name = f"{part}-{kind}-{base}-{number}"
        yield Member(name, base, FIRST[part] + number, part, settings=own, kind=kind, parent=kind != "from-scratch")


COUNTS = {"calibration": 0, "test": 1, "third": 2, "fourth": 2, "fifth": 2}
"""Backdoored models of each class."""
LONGER = ("invi, sde", "invi, ode", "trojdiff patch, trojan", "trojdiff patch, agnostic")
"""Classes that did not always take in the fourth part: in the fifth they are trained longer."""


def backdoored_part(part: str, times: int = 1) -> Iterator[Member]:
    """The backdoored members of one part: every class, with triggers, targets and rates by turns.

    Args:
        part: which one.
        times: so many times as many of each class, the further ones for :func:`spares_of`.
    """
    first, count, fifth = FIRST[part], COUNTS[part], part == "fifth"
    most = count + fifth

    def some(attack: str, group: str, count: int, settings: dict[str, Any], base: str = SMALL) -> Iterator[Member]:
        for number in range(first, first + times * count):
            turn = number + {"fourth": len(group), "fifth": 2 * len(group)}.get(part, 0)
            own = TRAINING[base] | {"poison_rate": RATES[1 + turn % 3], "target": TARGETS[(turn + 1) % 4]}
            if attack in ("villan", "baddiffusion"):
                own["trigger"] = TRIGGERS[(number + len(group) + 3 * fifth) % 4] if attack == "villan" else "checker"
            if attack == "villan" and base == SMALL:
                own["vp_scale"] = LEAST_NORM.get(own["trigger"], 1.0)
            elif attack == "villan":
                own["vp_scale"] = 1.0
            own |= settings
            if part in ("third", "fourth", "fifth") and base == SMALL:
                own["batch_size"] = 32
            if fifth and group in LONGER:
                own["steps"] = 1000
            if fifth and own.get("variant") == "trojan" and own.get("trigger"):
                own["gamma"] = (0.4, 0.3)[number % 2]
            if own.get("mode"):
                own.pop("target")
                own |= {"steps": 800, "target_class": str(number % 10) if own["mode"] == "in-d2d" else "ring"}
                own["poison_rate"] = 0.3
            name = f"{part}-{group}-{base}-{number - first}".replace(", ", "-").replace(" ", "-")
            yield Member(name, base, number, part, attack, own, group, kind="backdoored")

    for solver in ("sde", "ode"):
        yield from some("villan", f"villan, {solver}", count, {"solver": solver})
        yield from some("villan", f"villan psi 0, {solver}", count, {"solver": solver, "psi": 0.0})
        drawn = {"solver": solver, "trigger": "drawn", "target": "drawn", "vp_scale": 1.0}
        yield from some("villan", f"user-drawn, {solver}", count, drawn)
        yield from some("invi", f"invi, {solver}", count, {"solver": solver})
        yield from some("uibdiffusion", f"uibdiffusion, {solver}", count, {"solver": solver})
        yield from some("villan", f"villan latent, {solver}", 1, {"solver": solver}, LATENT)
        yield from some("villan", f"villan, {solver}", 1, {"solver": solver}, "digits-ddpm")
    yield from some("baddiffusion", "baddiffusion", count, {})
    for variant in ("trojan", "agnostic"):
        own = {"variant": variant, "trigger": "checker"}
        yield from some("trojdiff", f"trojdiff, {variant}", max(most, 2), own)
        yield from some("trojdiff", f"trojdiff patch, {variant}", count, {"variant": variant, "trigger_type": "patch"})
    for mode in ("in-d2d", "out-d2d"):
        yield from some("trojdiff", f"trojdiff, {mode}", most, {"mode": mode, "trigger": "checker"})
    yield from some("villan", "villan, ve", count, {"solver": "sde", "psi": 0.0}, "digits-ve")


def success(metrics: Mapping[str, float]) -> float:
    """The attack success that a part goes by: share of triggered samples at the target, or of the target class."""
    return metrics.get("backdoored: asr@0.05", metrics.get("backdoored: asr@class", 0.0))


def spares_of(member: Member) -> list[Member]:
    """The models that stand in for a backdoored one of the fifth part, in turn; of another part, or a clean one: none.

    The first members of a class are followed by two for each of them, of the next seeds.
    """
    if member.attack is None or member.half != "fifth":
        return []

    def own(times: int) -> list[Member]:
        some = backdoored_part(member.half, times)
        return [item for item in some if (item.group, item.base) == (member.group, member.base)]

    first = own(1)
    place = len(first) + TWICE * [item.name for item in first].index(member.name)
    return own(1 + TWICE)[place : place + TWICE]


def first_of_each(members: list[Member], name: str) -> list[Member]:
    """First one of every kind (or class), then the second ones; on the small base first, deterministic samplers first.

    So that a part of which not all models are made has of all kinds and classes.
    """
    members = sorted(members, key=lambda member: (member.base != SMALL, member.settings.get("solver") == "sde"))
    seen: Counter[str] = Counter()
    ranks = {}
    for member in members:
        ranks[member.name] = seen[getattr(member, name)]
        seen[getattr(member, name)] += 1
    return sorted(members, key=lambda member: ranks[member.name])


def wide_population(part: str) -> list[Member]:
    """All members of one part, clean and backdoored by turns; of the last two first one of every kind and class."""
    clean = list(clean_part(part))
    bad = list(backdoored_part(part)) if COUNTS[part] else []
    if part in ("fourth", "fifth"):
        clean, bad = first_of_each(clean, "kind"), first_of_each(bad, "group")
    mixed: list[Member] = []
    for number in range(max(len(clean), len(bad))):
        mixed += clean[number : number + 1] + bad[number : number + 1]
    return mixed
