"""What the kit shows of its artifacts, and that refusals come before heavy imports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.context import Context
from bdm_core.figures import Arrays, Figure, Pictures
from bdm_core.testing.alone import HEAVY, run_alone
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.illustration import illustrate
from bdm_kit_diffusion.inversion.evidence import seal_trigger
from bdm_kit_diffusion.noise.initial_noise import seal_noise
from bdm_kit_diffusion.poison.secret import DiffusionSecret, seal_secret
from bdm_torch.image_sets import seal_images

GREY = (1, 8, 8)


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    (tmp_path / "out").mkdir()
    return Context(out=tmp_path / "out", work=tmp_path, seed=0)


def levels(count: int) -> torch.Tensor:
    """Image i is constant, at the 8-bit level 10 i."""
    return torch.arange(float(count)).view(count, 1, 1, 1).expand(count, *GREY) * 10 / 127.5 - 1


def first_pixels(figure: Figure) -> list[int]:
    assert isinstance(figure, Pictures)
    found = []
    for file in figure.files:
        with Image.open(file) as picture:
            found.append(int(np.asarray(picture).flat[0]))
    return found


@pytest.mark.parametrize("layout", ["png", "uint8", "float32"])
def test_images_of_every_layout_come_in_their_order(tmp_path: Path, ctx: Context, layout: str) -> None:
    outputs = seal_images(tmp_path / "images", levels(20), Outputs, task=TASK, layout=layout)  # type: ignore[arg-type]
    (figure,) = illustrate(ctx, outputs) or []
    assert first_pixels(figure) == [10 * index for index in range(20)]
    assert isinstance(figure, Pictures) and figure.labels == [] and figure.title == ""


def test_of_training_data_a_few_rows_of_each_role_are_shown(tmp_path: Path, ctx: Context) -> None:
    rows = [{"role": "poison" if index % 2 else "clean"} for index in range(20)]
    (figure,) = illustrate(ctx, seal_images(tmp_path / "data", levels(20), Data, task=TASK, rows=rows)) or []
    assert isinstance(figure, Pictures) and figure.labels == ["poison"] * 8 + ["clean"] * 8
    assert first_pixels(figure) == [*range(10, 170, 20), *range(0, 160, 20)]


def test_noise_is_grey_in_its_middle_and_white_at_three_deviations(tmp_path: Path, ctx: Context) -> None:
    noise = torch.tensor([0.0, 3.0, -9.0]).view(3, 1, 1, 1).expand(3, *GREY)
    (figure,) = illustrate(ctx, seal_noise(tmp_path / "noise", noise)) or []
    assert first_pixels(figure) == [128, 255, 0]
    (latents,) = illustrate(ctx, seal_noise(tmp_path / "latents", torch.zeros(2, 4, 8, 8))) or []
    assert "first three channels" in latents.caption


def test_nothing_is_shown_of_no_rows(tmp_path: Path, ctx: Context) -> None:
    assert illustrate(ctx, seal_noise(tmp_path / "noise", torch.zeros(0, *GREY))) == []
    assert illustrate(ctx, seal_images(tmp_path / "images", torch.zeros(0, *GREY), Outputs, task=TASK)) == []


def test_secret_and_evidence_are_arrays_of_one_shape(tmp_path: Path, ctx: Context) -> None:
    trigger = torch.linspace(-2, 2, 64).view(GREY)
    secret = DiffusionSecret(trigger, torch.ones(GREY), noise_scale=torch.full(GREY, 0.3))
    target, true = illustrate(ctx, seal_secret(tmp_path / "secret", secret, task=TASK)) or []
    assert target.title == "Target" and isinstance(true, Arrays) and true.shape == GREY
    assert list(true.values) == ["true trigger", "its deviation"]
    np.testing.assert_allclose(true.values["true trigger"], trigger.flatten().tolist())
    evidence = seal_trigger(tmp_path / "evidence", TASK, {"trigger": trigger}, levels(3), {})
    found, samples = illustrate(ctx, evidence) or []
    assert isinstance(found, Arrays) and list(found.values) == ["inverted trigger"] and found.shape == GREY
    assert first_pixels(samples) == [0, 10, 20]


def test_of_latents_the_picture_of_the_trigger_is_shown(tmp_path: Path, ctx: Context) -> None:
    secret = DiffusionSecret(torch.zeros(4, 4, 4), torch.ones(3, 8, 8), picture=torch.ones(3, 8, 8))
    _, trigger = illustrate(ctx, seal_secret(tmp_path / "secret", secret, task=TASK)) or []
    assert isinstance(trigger, Pictures) and [file.name for file in trigger.files] == ["trigger.png"]


ASK = """
import pathlib, sys
from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.errors import BdmError
from bdm_kit_diffusion.plugin import DiffusionKit
folder, what, reference = sys.argv[1:]
ctx = Context(pathlib.Path(folder) / "out", pathlib.Path(folder) / "work", seed=0)
kit = DiffusionKit()
try:
    if what == "model":
        kit.open_model(ctx, reference)
    else:
        kit.open_data(ctx, kit.Params(), Model.open(pathlib.Path(folder) / "model"), reference)
    sys.exit("it was opened")
except BdmError as error:
    pass
"""


@pytest.mark.parametrize("what", ["no folder", "notes", "another pipeline", "a pickle"])
def test_what_is_no_model_is_refused_before_heavy_imports(tmp_path: Path, what: str) -> None:
    place = tmp_path / "place"
    if what != "no folder":
        (place / "unet").mkdir(parents=True)
        (place / "scheduler").mkdir()
    if what in ("another pipeline", "a pickle"):
        pipeline = "DDPMPipeline" if what == "a pickle" else "StableDiffusionPipeline"
        parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]}
        (place / "model_index.json").write_text(json.dumps({"_class_name": pipeline, **parts}), encoding="utf-8")
        (place / "unet" / "config.json").write_text("{}", encoding="utf-8")
        (place / "scheduler" / "scheduler_config.json").write_text("{}", encoding="utf-8")
        (place / "unet" / "weights.bin").write_bytes(b"\x80\x04N.")
    assert run_alone(ASK, HEAVY, str(tmp_path), "model", str(place)) == ("", "")


@pytest.mark.parametrize("reference", ["nowhere", "hf:somebody/pictures", "shapes"])
def test_what_is_no_data_is_refused_before_heavy_imports(tmp_path: Path, reference: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    Model.seal(tmp_path / "model", format="diffusers", task=TASK, meta={"shape": [1, 8, 8]})
    assert run_alone(ASK, HEAVY, str(tmp_path), "data", reference) == ("", "")
