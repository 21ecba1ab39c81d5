"""Rows of the result table for tests of metrics, from the network with a planted backdoor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bdm_core.context import Context
from bdm_core.records import Subject
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import seal_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import Backdoor, seal_secret
from bdm_kit_classification.predictions import seal_predictions
from bdm_kit_classification.testing.planted import CLASSES, TARGET, Planted, trigger
from bdm_kit_classification.training.fitting import predict
from bdm_kit_classification.triggers.label_rule import LabelRule


def planted_subject(planted: Planted, folder: Path, rule: LabelRule | None = None, **more: Any) -> Subject:
    """The backdoored model's row; ``more`` replaces fields, ``rule`` what the secret says that the attacker wants."""
    classifier = load_classifier(planted.model)
    seen = {
        name: seal_predictions(folder / name, predict(classifier, samples), samples)
        for name, samples in (("clean", planted.clean), ("triggered", planted.triggered))
    }
    rule = rule or LabelRule(kind="all-to-one", classes=len(CLASSES), target=TARGET)
    fields: dict[str, Any] = {
        "role": "backdoored",
        "model": planted.model,
        "on_clean": seen["clean"],
        "on_triggered": seen["triggered"],
        "reference": seal_samples(folder / "data", planted.clean.pick([0]), parts={"test": planted.clean}),
        "secret": seal_secret(folder / "secret", Backdoor(rule, trigger()), planted.clean.pick([1]), 0),
    }
    return Subject(**{**fields, **more})


def keeping(folder: Path) -> tuple[Context, dict[str, Any]]:
    """A context, and the figures that are kept through it, mappings of one name merged as in a run."""
    kept: dict[str, Any] = {}

    def keep(figures: dict[str, Any]) -> None:
        for name, value in figures.items():
            kept[name] = {**kept.get(name, {}), **value} if isinstance(value, dict) else value

    return new_context(folder, on_figures=keep), kept
