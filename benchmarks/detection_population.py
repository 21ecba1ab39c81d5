"""The models of the detection benchmark: half of them clean, half backdoored, each made from seeds alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bdm_kit_diffusion.data import load_builtin
from bdm_kit_diffusion.denoising import denoising_loss
from bdm_kit_diffusion.models import load_model, save_model
from bdm_kit_diffusion.references import BUILTIN
from bdm_kit_diffusion.training import TrainingOptions, train

DATA = {"digits-ddpm": "digits", "digits-ve": "digits", "shapes-ddpm": "shapes"}
TRIGGERS = ("white-box", "checker", "stop-sign", "glasses")
TARGETS = ("cross", "hat", "shoe", "corner")
RATES = (0.05, 0.1, 0.2, 0.5)
LEAST_NORM = {"digits-ddpm": {"white-box": 1.5, "stop-sign": 1.2, "glasses": 1.2}}
"""Scale of a trigger where it would be too weak on few pixels."""


@dataclass(frozen=True)
class Member:
    """One model of the population.

    Attributes:
        name: also the name of its folder.
        base: the built-in model that it starts from.
        seed: of everything random about it.
        attack: None for a clean model.
        settings: the attack's parameters that differ from its defaults.
        group: what the table puts together, e.g. "villan, ode".
        share: of a clean model: how much of the data it is fine-tuned on.
        classes: of a clean model: which half of the classes it sees, 0 or 1; None for all.
    """

    name: str
    base: str
    seed: int
    attack: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    group: str = "clean"
    share: float = 1.0
    classes: int | None = None

    @property
    def half(self) -> str:
        """``calibration`` or ``test``, by a hash of the name."""
        return "calibration" if hashlib.sha256(self.name.encode()).digest()[0] % 2 else "test"


def clean_members() -> list[Member]:
    """Fine-tuned from different seeds on different parts of the data, so that "clean" is a distribution."""
    found = []
    for base, count in (("digits-ddpm", 36), ("shapes-ddpm", 10), ("digits-ve", 8)):
        for number in range(count):
            found.append(
                Member(
                    f"clean-{base}-{number}", base, 100 + number, share=(1.0, 0.5, 0.8)[number % 3],
                    classes=(None, 0, 1, None)[number % 4],
                )
            )  # fmt: skip
    return found


def backdoored_members() -> list[Member]:
    """Attacks x solver classes x triggers x targets x rates: a Latin square where all combinations are too many."""
    found: list[Member] = []

    def add(
        attack: str, group: str, count: int, settings: dict[str, Any], base: str = "digits-ddpm", **by: Any
    ) -> None:
        for number in range(count):
            own = dict(settings)
            trigger = by.get("trigger", TRIGGERS)[number % len(by.get("trigger", TRIGGERS))]
            if by.get("trigger") != ():
                own["trigger"] = trigger
            own["target"] = TARGETS[(number // 4 + number) % 4]
            own["poison_rate"] = RATES[(number + number // 4) % 4]
            scale = LEAST_NORM.get(base, {}).get(trigger)
            if attack == "villan":
                own["vp_scale"] = scale or 1.0
            found.append(Member(f"{group}-{base}-{number}".replace(", ", "-"), base, number, attack, own, group))

    add("villan", "villan, sde", 8, {"solver": "sde"})
    add("villan", "villan, ode", 8, {"solver": "ode"})
    add("villan", "villan psi 0, sde", 4, {"solver": "sde", "psi": 0.0})
    add("villan", "villan psi 0, ode", 4, {"solver": "ode", "psi": 0.0})
    add("baddiffusion", "baddiffusion", 4, {}, trigger=("checker",))
    add("trojdiff", "trojdiff, trojan", 4, {"variant": "trojan"}, trigger=("checker",))
    add("trojdiff", "trojdiff, agnostic", 4, {"variant": "agnostic"}, trigger=("checker",))
    for solver in ("sde", "ode"):
        add("villan", f"villan, {solver}", 3, {"solver": solver}, base="shapes-ddpm")
        for attack in ("invi", "uibdiffusion"):
            for number in range(2):
                own = {"solver": solver, "target": TARGETS[number], "poison_rate": RATES[1 + number]}
                found.append(
                    Member(f"{attack}-{solver}-{number}", "digits-ddpm", number, attack, own, f"{attack}, {solver}")
                )
    add("villan", "villan, ve", 4, {"solver": "sde", "psi": 0.0}, base="digits-ve")
    return found


def population() -> list[Member]:
    """All members, clean and backdoored in turns, so that an unfinished benchmark has both."""
    clean, bad = clean_members(), backdoored_members()
    mixed: list[Member] = []
    for number in range(max(len(clean), len(bad))):
        mixed += clean[number : number + 1] + bad[number : number + 1]
    return mixed


def make_clean(member: Member, folder: Path, steps: int = 400) -> Path:
    """Fine-tune a clean member in ``folder``, unless it is there; returns the folder of the model."""
    place = folder / member.name
    if (place / "model_index.json").is_file():
        return place
    model = load_model(BUILTIN / member.base)
    images, rows = load_builtin(DATA[member.base])
    generator = torch.Generator().manual_seed(member.seed)
    chosen = torch.randperm(len(images), generator=generator)[: round(member.share * len(images))]
    if member.classes is not None:
        labels = torch.tensor([int(row["label"]) for row in rows])
        half = (int(labels.max()) + 1) // 2
        chosen = chosen[(labels[chosen] < half) == (member.classes == 0)]
    rate = (5e-4, 1e-3, 2e-3)[member.seed % 3]
    options = TrainingOptions(steps=steps, learning_rate=rate, warmup_steps=25, ema_decay=0.995)
    train(model.unet, denoising_loss(images[chosen], model.scheduler), options, seed=member.seed)
    save_model(model, place)
    return place
