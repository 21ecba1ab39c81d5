"""The toy plugins are correct, so every conformance test passes on them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bdm_core.testing import (
    AttackConformance,
    DefenseConformance,
    KitConformance,
    MetricConformance,
    ObserverConformance,
)

TOY = Path(__file__).parent / "toy"


@pytest.fixture(autouse=True)
def toy_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(TOY)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "bdm_toy"]:
        monkeypatch.delitem(sys.modules, name)


class TestToyKit(KitConformance):
    plugin = "toy"


class TestToyAttack(AttackConformance):
    plugin = "toy"


class TestToyDefense(DefenseConformance):
    plugin = "toy"


class TestToyRows(DefenseConformance):
    plugin = "toy-rows"


class TestToyFilter(DefenseConformance):
    plugin = "toy-filter"


class TestToyBlackBox(DefenseConformance):
    plugin = "toy-black-box"


class TestToyTrainer(DefenseConformance):
    plugin = "toy-trainer"


class TestToyMetric(MetricConformance):
    plugin = "toy"
    ideal = {"mse": 0.0, "asr": 1.0}


class TestToyObserver(ObserverConformance):
    plugin = "toy"
