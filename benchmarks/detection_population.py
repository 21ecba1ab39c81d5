"""The models of the detection benchmark: half of them clean, half backdoored, each made from seeds alone."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.data.built_in_data import load_builtin, load_digits
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, save_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_kit_diffusion.recipes.digits_ddpm import untrained_model
from bdm_torch.training import TrainingOptions, train

SMALL = "digits-small"
"""The base of most members: `digits-ddpm` with half of its channels, trained once by the benchmark."""
LATENT = "shapes-ldm"
DATA = {SMALL: "digits", "digits-ddpm": "digits", "digits-ve": "digits", "shapes-ddpm": "shapes", LATENT: "shapes"}
TRAINING: dict[str, dict[str, Any]] = {
    SMALL: {"steps": 600, "batch_size": 64, "learning_rate": 4e-3, "ema_decay": 0.99},
    "digits-ddpm": {"steps": 500, "batch_size": 64},
    "digits-ve": {"steps": 500, "batch_size": 64},
    "shapes-ddpm": {"steps": 300, "batch_size": 32},
    LATENT: {"steps": 600, "batch_size": 64, "learning_rate": 1e-3},
}
"""How an attack trains on each base, where its own training parameters apply: short, so that there can be many."""
CLEAN_STEPS = {SMALL: 400, "digits-ddpm": 300, "digits-ve": 300, "shapes-ddpm": 150, LATENT: 300}
TRIGGERS = ("white-box", "checker", "stop-sign", "glasses")
TARGETS = ("cross", "hat", "shoe", "corner")
RATES = (0.05, 0.1, 0.2, 0.5)
LEAST_NORM = {"white-box": 1.5, "stop-sign": 1.2, "glasses": 1.2}
"""Scale of a trigger that would be too weak on 8x8 pixels."""


@dataclass(frozen=True)
class Member:
    """One model of the population.

    Attributes:
        name: also the name of its folder.
        base: the built-in model that it starts from.
        seed: of everything random about it.
        half: ``calibration`` or ``test``; of the wide population the part.
        attack: None for a clean model.
        settings: the attack's parameters that differ from its defaults; of a clean model what its kind needs.
        group: what the table puts together, e.g. "villan, ode".
        share: of a clean model: how much of the data it is fine-tuned on.
        classes: of a clean model: which half of the classes it sees, 0 or 1; None for all.
        repaired: of a backdoored one: whether it is also repaired.
        kind: of a clean model: how it was made, see :mod:`detection_wide`.
        parent: whether ``base`` is what it was made from; else it is only given as reference.
    """

    name: str
    base: str
    seed: int
    half: str
    attack: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    group: str = "clean"
    share: float = 1.0
    classes: int | None = None
    repaired: bool = False
    kind: str = "same-data"
    parent: bool = True


def half_of(number: int, name: str) -> str:
    """The half of the number-th model of a class and base: by turns, from either half as the name has it."""
    return "calibration" if (number + number // 4 + zlib.crc32(name.encode())) % 2 else "test"


CLEAN_COUNTS = {SMALL: 40, "digits-ddpm": 8, "digits-ve": 4, "shapes-ddpm": 2, LATENT: 4}
SECOND_COUNTS = {SMALL: 18, "digits-ddpm": 4, "digits-ve": 2, "shapes-ddpm": 1, LATENT: 4}


def clean_members(counts: dict[str, int], first: int = 0) -> list[Member]:
    """Fine-tuned from different seeds on different parts of the data, so that "clean" is a distribution.

    Args:
        counts: base -> how many.
        first: number of the first one of each base, from which all else follows.
    """
    found = []
    for base, count in counts.items():
        for number in range(first, first + count):
            found.append(
                Member(
                    f"clean-{base}-{number}",
                    base,
                    100 + number,
                    half_of(number, base),
                    share=(1.0, 0.5, 0.8)[number % 3],
                    classes=(None, 0, 1, None)[number % 4],
                )
            )
    return found


def backdoored_members(first: int = 0, most: int = 8) -> list[Member]:
    """Attacks x solver classes x triggers x targets x rates: a Latin square where all combinations are too many.

    Args:
        first: number of the first one of each class, from which seed, trigger, target and rate follow.
        most: no more than so many of a class.
    """
    found: list[Member] = []

    def add(attack: str, group: str, count: int, settings: dict[str, Any], base: str = SMALL, **by: Any) -> None:
        for number in range(first, first + min(count, most)):
            own = TRAINING[base] | settings
            trigger = by.get("trigger", TRIGGERS)[number % len(by.get("trigger", TRIGGERS))]
            if by.get("trigger") != ():
                own["trigger"] = trigger
            own["target"] = TARGETS[(number // 4 + number) % 4]
            own["poison_rate"] = RATES[(number + number // 4) % 4]
            if attack == "villan":
                own["vp_scale"] = LEAST_NORM.get(trigger, 1.0) if DATA[base] == "digits" else 1.0
            name = f"{group}-{base}-{number}".replace(", ", "-").replace(" ", "-")
            half = half_of(number, group + base)
            found.append(Member(name, base, number, half, attack, own, group, repaired=number < 2))

    add("villan", "villan, sde", 8, {"solver": "sde"})
    add("villan", "villan, ode", 8, {"solver": "ode"})
    add("villan", "villan psi 0, sde", 4, {"solver": "sde", "psi": 0.0})
    add("villan", "villan psi 0, ode", 4, {"solver": "ode", "psi": 0.0})
    add("baddiffusion", "baddiffusion", 4, {}, trigger=("checker",))
    add("trojdiff", "trojdiff, trojan", 4, {"variant": "trojan"}, trigger=("checker",))
    add("trojdiff", "trojdiff, agnostic", 4, {"variant": "agnostic"}, trigger=("checker",))
    for solver in ("sde", "ode"):
        add("villan", f"villan, {solver}", 2, {"solver": solver}, base="digits-ddpm")
        add("villan", f"villan, {solver}", 1, {"solver": solver}, base="shapes-ddpm")
        for attack in ("invi", "uibdiffusion"):
            for number in range(first, first + 2):
                own = {"solver": solver, "target": TARGETS[number % 4], "poison_rate": RATES[1 + number % 2]}
                own |= TRAINING[SMALL]
                found.append(
                    Member(
                        f"{attack}-{solver}-{number}",
                        SMALL,
                        number,
                        half_of(number, attack + solver),
                        attack,
                        own,
                        f"{attack}, {solver}",
                        repaired=number < 2,
                    )
                )
        add("villan", f"villan latent, {solver}", 2, {"solver": solver}, base=LATENT)
    add("villan", "villan, ve", 4, {"solver": "sde", "psi": 0.0}, base="digits-ve")
    return found


def population(second: bool = False) -> list[Member]:
    """All members, clean and backdoored in turns, first one of every class: an unfinished benchmark has all kinds.

    Those of `shapes-ddpm`, the slowest by far, come last.

    Args:
        second: another population, of other seeds and other combinations of trigger, target and rate: for a detector
            that was made with a view to the first one.
    """
    if second:
        members = clean_members(SECOND_COUNTS, 60), backdoored_members(10, 2)
    else:
        members = clean_members(CLEAN_COUNTS), backdoored_members()
    clean, bad = (sorted(some, key=lambda member: (member.base == "shapes-ddpm", member.seed)) for some in members)
    mixed: list[Member] = []
    for number in range(max(len(clean), len(bad))):
        mixed += clean[number : number + 1] + bad[number : number + 1]
    return mixed


def make_base(base: str, folder: Path) -> Path:
    """The folder of a base: a built-in model's, or the small one's, trained in ``folder`` unless it is there."""
    if base != SMALL:
        return BUILTIN / base
    place = folder / base
    if not (place / "model_index.json").is_file():
        model = untrained_model("digits-small")
        options = TrainingOptions(steps=3000, batch_size=64, learning_rate=3e-3, warmup_steps=100, ema_decay=0.999)
        train(model.unet, denoising_loss(load_digits()[0], model.scheduler), options, seed=0)
        save_model(DiffusionModel(model.unet, model.scheduler), place)
    return place


def make_clean(member: Member, folder: Path) -> Path:
    """Fine-tune a clean member in ``folder``, unless it is there; returns the folder of the model."""
    place = folder / member.name
    if (place / "model_index.json").is_file():
        return place
    model = load_model(make_base(member.base, folder))
    images, rows = load_builtin(DATA[member.base])
    generator = torch.Generator().manual_seed(member.seed)
    chosen = torch.randperm(len(images), generator=generator)[: round(member.share * len(images))]
    if member.classes is not None:
        labels = torch.tensor([int(row["label"]) for row in rows])
        half = (int(labels.max()) + 1) // 2
        chosen = chosen[(labels[chosen] < half) == (member.classes == 0)]
    rate = (5e-4, 1e-3, 2e-3)[member.seed % 3]
    options = TrainingOptions(
        steps=CLEAN_STEPS[member.base], batch_size=64, learning_rate=rate, warmup_steps=25, ema_decay=0.995
    )
    train(model.unet, denoising_loss(model.encode(images[chosen]), model.scheduler), options, seed=member.seed)
    save_model(model, place)
    return place
