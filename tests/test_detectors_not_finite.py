"""NaN and infinity never read as "clean": a detector refuses such a model or such data, or says that it cannot tell.

Every installed detector of unconditional models has its entry here; the last test holds for those of all tasks. The
models are sealed without the kit's check at opening, which refuses them before any detector sees them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.context import Context
from bdm_core.discovery.candidates import find, installed, scoped
from bdm_core.errors import BdmError
from bdm_core.hooks import call, implements
from bdm_core.records import Detection
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.noise.initial_noise import seal_noise
from bdm_torch.image_sets import seal_images

BAD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
CHAINS: dict[str, Any] = {"sampling_steps": 4, "samples": 8, "samplers": ["ddim"]}
OF_MODELS: dict[str, dict[str, Any]] = {
    "elijah": {**CHAINS, "starts": "published", "inversion_steps": [2, 1], "screening_steps": 0, "noise_batch": 2},
    "diff-cleanse": {**CHAINS, "starts": "published", "epochs": [1]},
    "terd": {"estimation_steps": 2, "refinement_steps": 1, "chain": 2, "evaluation_pairs": 8, "samples": 8},
    "reference-audit": {
        "reference": "digits-tiny",
        "noise_images": 32,
        "dispersions": [2.0],
        "levels": [1.0],
        "norms": [1.0],
        "screening_steps": [2, 2],
        "candidates": 1,
        "refinement_steps": 1,
        "climbs": [[1.0, 0.5]],
        "climbing_steps": 2,
        "samples": 8,
    },
}
OF_INPUTS: dict[str, dict[str, Any]] = {
    "terd-input": {**OF_MODELS["terd"]},
    "ufid": {"perturbations": 2, "clean_queries": 10, "features": "pixels"},
}
OF_ROWS: dict[str, dict[str, Any]] = {"spectral-signatures": {"features": "pixels"}}


def judged(tmp_path: Path, name: str, params: dict[str, Any], **given: Any) -> Detection | None:
    """What a detector says; None if it refuses in one line."""
    plugin = find("defense", name, TASK).load()
    for place in ("out", "work"):
        (tmp_path / place).mkdir()
    on_query = given.pop("on_query", None)
    ctx = Context(tmp_path / "out", tmp_path / "work", 3, **({"on_query": on_query} if on_query else {}))
    known = {"model": None, "data": None, "training_data": None, "suspects": None, **given}
    try:
        found = call(scoped(plugin), "detect", ctx=ctx, params=plugin.Params(**params), **known)
    except BdmError as error:
        assert "\n" not in str(error) and str(error)
        return None
    assert isinstance(found, Detection)
    return found


def is_no_clean(found: Detection | None) -> bool:
    return found is None or (found.verdict == "not identifiable" and bool(found.note))


class Spoilt(torch.nn.Module):
    """A network whose answers hold a value that is none: everywhere, or only for inputs far from plain noise."""

    def __init__(self, network: torch.nn.Module, value: float, shifted: bool) -> None:
        super().__init__()
        self.network, self.value, self.shifted, self.config = network, value, shifted, network.config

    def forward(self, x: torch.Tensor, t: Any) -> Any:
        answer = self.network(x, t).sample
        bad = torch.ones(len(x), dtype=torch.bool)
        if self.shifted:
            bad = x.flatten(1).mean(1).abs() > 0.35
        return SimpleNamespace(sample=torch.where(bad.view(-1, 1, 1, 1), torch.full_like(answer, self.value), answer))


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[float, bool], Model]:
    """A sealed model that every detector opens as a network with damaged answers."""

    def make(value: float, shifted: bool) -> Model:
        sealed = seal_model(load_model(BUILTIN / "digits-tiny"), tmp_path / "model")

        def opened(source: Any, device: str = "cpu") -> Any:
            model = load_model(source, device)
            if getattr(source, "path", None) == sealed.path:
                model.unet = Spoilt(model.unet, value, shifted)
            return model

        users = ("elijah", "diff_cleanse", "terd", "reference_audit")
        for place in (*(f"bdm_defense_{name}.detection" for name in users), "bdm_defense_terd.inputs"):
            monkeypatch.setattr(f"{place}.load_model", opened)
        return sealed

    return make


def test_every_detector_has_its_entry() -> None:
    found = {item.name for item in installed("defense", TASK) if item.allowed() and implements(item.load(), "detect")}
    assert found == {*OF_MODELS, *OF_INPUTS, *OF_ROWS}


@pytest.mark.parametrize("shifted", [False, True], ids=["everywhere", "shifted"])
@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("name", OF_MODELS)
def test_a_model_whose_answers_are_not_finite_is_not_clean(
    tmp_path: Path, spoil: Callable[[float, bool], Model], name: str, value: str, shifted: bool
) -> None:
    assert is_no_clean(judged(tmp_path, name, OF_MODELS[name], model=spoil(BAD[value], shifted)))


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_inputs_of_a_model_whose_answers_are_not_finite_are_not_clean(
    tmp_path: Path, spoil: Callable[[float, bool], Model], value: str
) -> None:
    suspects = seal_noise(tmp_path / "suspects", draw_noise(4, (1, 8, 8), 0))
    model = spoil(BAD[value], False)
    assert is_no_clean(judged(tmp_path, "terd-input", OF_INPUTS["terd-input"], model=model, suspects=suspects))


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("share", [1.0, 0.1], ids=["all", "some"])
def test_a_black_box_that_answers_what_is_not_finite_is_not_clean(tmp_path: Path, value: str, share: float) -> None:
    suspects = seal_noise(tmp_path / "suspects", draw_noise(4, (1, 8, 8), 0))
    asked: list[int] = []

    def answer(inputs: Data) -> Outputs:
        count = int(inputs.meta["count"])  # type: ignore[arg-type]
        images = draw_noise(count, (1, 8, 8), len(asked)).clamp(-1, 1)
        images[: max(1, round(share * count))] = BAD[value]
        asked.append(count)
        return seal_images(tmp_path / f"answer-{len(asked)}", images, Outputs, task=TASK, layout="float32")

    assert is_no_clean(judged(tmp_path, "ufid", OF_INPUTS["ufid"], suspects=suspects, on_query=answer))
    assert asked


@pytest.mark.parametrize("value", BAD)
def test_training_rows_that_are_not_finite_are_not_clean(tmp_path: Path, value: str) -> None:
    images = draw_noise(12, (1, 8, 8), 0).clamp(-1, 1)
    images[5, 0, 0, 0] = BAD[value]
    rows = seal_images(tmp_path / "rows", images, Data, task=TASK, layout="float32")
    assert is_no_clean(judged(tmp_path, "spectral-signatures", OF_ROWS["spectral-signatures"], suspects=rows))


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("field", ["scores", "threshold", "p_value"])
def test_no_detection_of_any_task_can_hold_such_a_number(field: str, value: str) -> None:
    """What detectors hand over is checked by the core, so that a comparison with NaN is never made."""
    given: dict[str, Any] = {"level": "model", "scores": [1.0], "threshold": 1.0, "p_value": 0.5}
    given[field] = [BAD[value]] if field == "scores" else BAD[value]
    with pytest.raises(ValidationError):
        Detection(**given)
