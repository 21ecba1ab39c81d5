"""Every installed metric, analysis and defense of text-to-image on a folder laid out as Stable Diffusion 1.5.

The weights are random and the widths small; the files, the classes, the 77 positions and the levels are the release's.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from bdm_core.artifacts import Model
from bdm_core.discovery.candidates import find, installed
from bdm_core.hooks import implements
from bdm_core.testing import Bench, DefenseConformance, MetricConformance
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.models.untrained import write_untrained
from bdm_kit_text_to_image.plugin import TextToImageKit

PARAMS: dict[str, dict[str, Any]] = {
    "assimilation": {"pairs": 2},
    "trajectory": {"pairs": 2, "looks": 2},
    "latent-map": {"pairs": 2, "points": 3, "line": 3},
    "activation-norm": {"samples": 2},
    "pre-activation": {"samples": 2, "draws": 2, "batch_size": 2},
    "daa": {"steps": 6},
    "prompt-audit": {"steps": 6},
    "temporal-noise": {"steps": 3},
    "text-perturbation": {"steps": ["normalise"]},
}
"""Values beside ``steps=2``, or in its place, that make a plugin quick."""
ELSEWHERE = {"judge", "none"}
"""The one asks an endpoint about pictures and never opens the model (its own tests do), the other does nothing."""


class ReleaseBench(Bench):
    """A bench whose model is laid out as a release."""

    @property
    def model(self) -> Any:
        return self._kit_call("model", "open_model", reference=str(self.root / "released"))


@pytest.fixture
def bench(tmp_path: Path) -> ReleaseBench:
    """One for each plugin: a bench remembers what the first defense answered."""
    made = ReleaseBench(tmp_path / "root", TextToImageKit(), TASK, {"prompts": 4, "most_images": 32, "steps": 2})
    write_untrained(made.root / "released", "sd-1.5")
    return made


def names(kind: str) -> list[str]:
    return sorted({item.name for item in installed(kind, TASK)} - ELSEWHERE)


def quick(bench: ReleaseBench, kind: str, name: str) -> dict[str, Any]:
    plugin = find(kind, name, TASK).load()
    steps = {"steps": 2} if "steps" in plugin.Params.model_fields else {}
    base = {"reference": str(bench.root / "released")} if "reference" in plugin.tiny_params else {}
    return {**steps, **plugin.tiny_params, **base, **PARAMS.get(name, {})}


@pytest.mark.parametrize("name", names("metric"))
def test_metric(bench: ReleaseBench, name: str) -> None:
    chosen = type(
        "Chosen", (MetricConformance,), {"plugin": name, "task": TASK, "params": quick(bench, "metric", name)}
    )()
    for item in chosen.score(bench, chosen.row(bench, "backdoored")).value:
        assert item.value is None or math.isfinite(item.value)


@pytest.mark.parametrize("name", names("defense"))
def test_defense(bench: ReleaseBench, name: str) -> None:
    chosen = type(
        "Chosen", (DefenseConformance,), {"plugin": name, "task": TASK, "params": quick(bench, "defense", name)}
    )()
    if implements(chosen.subject, "detect"):
        found = chosen.detect(bench).value
        assert all(math.isfinite(score) for score in found.scores) or not found.conclusive
    elif implements(chosen.subject, "purify_inputs"):
        assert chosen.purify(bench).value.inputs.meta["count"] == chosen.mixture(bench).meta["count"]
    else:
        assert isinstance(chosen.repair(bench).value, Model)
