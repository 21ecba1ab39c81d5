"""Every installed metric, analysis and defense of text-to-image on a folder laid out as Stable Diffusion 1.5.

The weights are random, widths and pictures small; the files, the classes, the 77 positions and the levels are the
release's. Beside the defaults of each stand the methods that go another way through the model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from transformers import ResNetConfig, ResNetForImageClassification

from bdm_core.artifacts import Model
from bdm_core.discovery.candidates import find, installed
from bdm_core.hooks import implements
from bdm_core.testing import Bench, DefenseConformance, MetricConformance
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.models.untrained import write_untrained
from bdm_kit_text_to_image.plugin import TextToImageKit
from bdm_kit_text_to_image.world.factors import OBJECTS

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
FOLDER = "released"
"""Of the model; as a value it stands for the whole path."""
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("metric", "activation-norm", {"modules": "key-value-input"}),
    ("metric", "activation-norm", {"modules": "text-mlp"}),
    ("metric", "pre-activation", {"score": "ablation", "draws": 1, "clean_model": FOLDER}),
    ("defense", "t2ishield", {"method": "cda"}),
    ("defense", "daa", {"method": "system"}),
    ("defense", "navit2i", {"reference": FOLDER}),
    ("defense", "fine-tune", {"teacher": FOLDER}),
    ("defense", "reset-to-base", {"parts": ["text-encoder", "unet", "added-tokens"]}),
]
"""Kind, plugin and what is set otherwise."""
ELSEWHERE = {"judge", "none", "cost", "detection"}
"""None of them opens the model: they ask an endpoint, do nothing, or look at what a run keeps; see their own tests."""


class ReleaseBench(Bench):
    """A bench whose model is laid out as a release."""

    @property
    def model(self) -> Any:
        return self._kit_call("model", "open_model", reference=str(self.root / "released"))


@pytest.fixture
def bench(tmp_path: Path) -> ReleaseBench:
    """One for each plugin: a bench remembers what the first defense answered."""
    made = ReleaseBench(tmp_path / "root", TextToImageKit(), TASK, {"prompts": 4, "most_images": 32, "steps": 2})
    write_untrained(made.root / FOLDER, "sd-1.5")
    return made


def cases(kind: str) -> list[Any]:
    """Name and values of each plugin, with its defaults and with its variants."""
    plain = [(name, {}) for name in sorted({item.name for item in installed(kind, TASK)} - ELSEWHERE)]
    more = [(name, values) for one, name, values in VARIANTS if one == kind]
    return [pytest.param(name, values, id="-".join([name, *map(str, values)])) for name, values in plain + more]


def quick(bench: ReleaseBench, kind: str, name: str, more: dict[str, Any]) -> dict[str, Any]:
    plugin = find(kind, name, TASK).load()
    steps = {"steps": 2} if "steps" in plugin.Params.model_fields else {}
    base = {"reference": FOLDER} if "reference" in plugin.tiny_params else {}
    if name == "classifier":
        base = {"model": str(save_classifier(bench.root / "classifier"))}
    values = {**steps, **plugin.tiny_params, **base, **PARAMS.get(name, {}), **more}
    return {key: str(bench.root / FOLDER) if value == FOLDER else value for key, value in values.items()}


def save_classifier(folder: Path) -> Path:
    """A classifier of the small world's objects with random weights."""
    names = dict(enumerate(OBJECTS))
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", id2label=names)
    ResNetForImageClassification(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("name", "more"), cases("metric"))
def test_metric(bench: ReleaseBench, name: str, more: dict[str, Any]) -> None:
    params = quick(bench, "metric", name, more)
    chosen = type("Chosen", (MetricConformance,), {"plugin": name, "task": TASK, "params": params})()
    repaired = chosen.row(bench, "repaired", undefended=bench.model)
    row = repaired if name == "efficiency" else chosen.row(bench, "backdoored")
    found = chosen.score(bench, row).value
    assert any(item.value is not None for item in found), "nothing was measured"
    for item in found:
        assert item.value is None or math.isfinite(item.value)


@pytest.mark.parametrize(("name", "more"), cases("defense"))
def test_defense(bench: ReleaseBench, name: str, more: dict[str, Any]) -> None:
    params = quick(bench, "defense", name, more)
    chosen = type("Chosen", (DefenseConformance,), {"plugin": name, "task": TASK, "params": params})()
    if implements(chosen.subject, "detect"):
        found = chosen.detect(bench).value
        assert all(math.isfinite(score) for score in found.scores) or not found.conclusive
    elif implements(chosen.subject, "purify_inputs"):
        assert chosen.purify(bench).value.inputs.meta["count"] == chosen.mixture(bench).meta["count"]
    else:
        assert isinstance(chosen.repair(bench).value, Model)
