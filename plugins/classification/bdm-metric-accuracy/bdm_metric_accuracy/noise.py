"""How much noise the training rows really had, where an experiment added some."""

from __future__ import annotations

from typing import Any

from bdm_core.records import Measurement, Subject
from bdm_kit_classification.poison.secret import Backdoor

NAMES = {"data_noise": ("Data noise", "whose sample has noise"), "label_noise": ("Label noise", "with a wrong label")}
GROUPS = {"all": ("", "training rows"), "poisoned": (" of poisoned", "training rows that the attack changes")}


def noise_rates(subject: Subject, backdoor: Backdoor) -> list[Measurement]:
    """The share of noisy samples and of wrong labels among all training rows and among those that the attack changed;
    nothing without noise, and of the backdoored model's row alone."""
    known: Any = backdoor.facts.get("noise") or subject.reference.meta.get("noise") or {}
    if subject.role != "backdoored":
        return []
    return [
        Measurement(
            metric=name + group.replace(" ", "_"),
            value=counts["rate"],
            on="model",
            label=label + group,
            higher_is_better=None,
            n=counts["rows"],
            description=f"Share of {rows} {what} ({known[name]['kind']}), in [0, 1].",
            share=True,
        )
        for name, (label, what) in NAMES.items()
        for key, (group, rows) in GROUPS.items()
        if (counts := known.get(name, {}).get(key))
    ]
