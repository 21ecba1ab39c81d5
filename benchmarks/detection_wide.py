"""The wide population of the detection benchmark: clean models of many kinds, backdoored ones of every class.

Four parts, of different seeds and settings: from ``calibration`` come thresholds and p-values, with a view to ``test``
a detector may be made, ``third`` was opened once, when it was finished. As the detector was improved on what it missed
there, ``fourth`` was made and opened once after that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from detection_population import LATENT, LEAST_NORM, RATES, SMALL, TARGETS, TRAINING, TRIGGERS, Member

PARTS = ("calibration", "test", "third", "fourth")
FIRST = {"calibration": 200, "test": 300, "third": 400, "fourth": 500}
"""Seed of the first member of each part."""
TRAINED = ("same-data", "other-data", "few-images", "contrast", "rotated", "no-ema", "long", "short")
"""Kinds of clean models that are fine-tuned; what ``settings`` say of each is in :mod:`detection_making`."""
CHANGED = ("noisy-weights", "pruned", "quantised", "averaged")
"""Kinds that are made from the weights of the base, or of a fine-tuning of it."""

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
}
"""Of the clean models on the other bases: base, kind and what is special about each."""


def clean_part(part: str) -> Iterator[Member]:
    """The clean members of one part."""
    rows = [(SMALL, kind, own) for kind, some in SETTINGS[part] for own in some] + OTHERS[part]
    for number, (base, kind, own) in enumerate(rows):
        name = f"{part}-{kind}-{base}-{number}"
        yield Member(name, base, FIRST[part] + number, part, settings=own, kind=kind, parent=kind != "from-scratch")


COUNTS = {"calibration": 0, "test": 1, "third": 2, "fourth": 2}
"""Backdoored models of each class."""


def backdoored_part(part: str) -> Iterator[Member]:
    """The backdoored members of one part: every class, with triggers, targets and rates by turns."""
    first, count = FIRST[part], COUNTS[part]

    def some(attack: str, group: str, count: int, settings: dict[str, Any], base: str = SMALL) -> Iterator[Member]:
        for number in range(first, first + count):
            turn = number + (len(group) if part == "fourth" else 0)
            own = TRAINING[base] | {"poison_rate": RATES[1 + turn % 3], "target": TARGETS[(turn + 1) % 4]}
            if attack in ("villan", "baddiffusion"):
                own["trigger"] = TRIGGERS[(number + len(group)) % 4] if attack == "villan" else "checker"
            if attack == "villan" and base == SMALL:
                own["vp_scale"] = LEAST_NORM.get(own["trigger"], 1.0)
            elif attack == "villan":
                own["vp_scale"] = 1.0
            own |= settings
            if part in ("third", "fourth") and base == SMALL:
                own["batch_size"] = 32
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
        yield from some("trojdiff", f"trojdiff, {variant}", max(count, 2), own)
        yield from some("trojdiff", f"trojdiff patch, {variant}", count, {"variant": variant, "trigger_type": "patch"})
    for mode in ("in-d2d", "out-d2d"):
        yield from some("trojdiff", f"trojdiff, {mode}", count, {"mode": mode, "trigger": "checker"})
    yield from some("villan", "villan, ve", count, {"solver": "sde", "psi": 0.0}, "digits-ve")


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
    """All members of one part, clean and backdoored by turns; of the fourth first one of every kind and class."""
    clean = list(clean_part(part))
    bad = list(backdoored_part(part)) if COUNTS[part] else []
    if part == "fourth":
        clean, bad = first_of_each(clean, "kind"), first_of_each(bad, "group")
    mixed: list[Member] = []
    for number in range(max(len(clean), len(bad))):
        mixed += clean[number : number + 1] + bad[number : number + 1]
    return mixed
