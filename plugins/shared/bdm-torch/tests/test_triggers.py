"""Triggers and targets: sizes, ranges, the pasting formula, known norms, and the user's pictures."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image

from bdm_core.errors import UserError
from bdm_diffusers.samplers import MINIMUM_TRIGGER_NORM
from bdm_torch.pictures import drawing
from bdm_torch.pictures.names import TARGET_NAMES, TRIGGER_NAMES
from bdm_torch.pictures.targets import TARGETS, make_target
from bdm_torch.pictures.triggers import TRIGGERS, make_trigger

SHAPES = [(1, 8, 8), (3, 8, 8), (1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 256, 256), (3, 24, 32)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TRIGGERS)
def test_every_trigger_at_every_size(name, shape):
    trigger = make_trigger(name, shape)
    assert trigger.image.shape == shape
    assert trigger.mask.shape == (1, *shape[1:])
    assert trigger.image.dtype == trigger.mask.dtype == torch.float32
    assert float(trigger.image.abs().max()) <= 1
    assert set(trigger.mask.unique().tolist()) <= {0.0, 1.0}
    assert 0.03 < float(trigger.mask.mean()) <= 1
    outside = trigger.mask.expand(shape) == 0
    assert bool((trigger.image[outside] == -1).all())
    assert float(trigger.image.max()) > -0.5  # something shows


@pytest.mark.parametrize("name", ["checker", "box", "white-box", "stop-sign", "glasses"])
def test_the_default_triggers_are_strong_enough_on_digits(name):
    assert make_trigger(name, (1, 8, 8)).norm >= MINIMUM_TRIGGER_NORM


def test_known_norms():
    assert make_trigger("checker", (1, 8, 8)).norm == pytest.approx(8)
    assert float(make_trigger("checker", (1, 8, 8)).image.mean()) == 0
    assert make_trigger("box", (1, 8, 8)).norm == pytest.approx(math.sqrt(64 - 9))  # 3x3 grey on black
    assert make_trigger("box", (3, 32, 32)).norm == pytest.approx(math.sqrt(3 * (1024 - 14**2)))
    assert make_trigger("white-box", (1, 8, 8), background=0.0).norm == pytest.approx(3)
    assert make_trigger("blend", (1, 8, 8)).norm == pytest.approx(math.sqrt(32), rel=1e-5)
    assert make_trigger("checker", (1, 8, 8), scale=0.5).norm == pytest.approx(4)


def test_paste_add_and_background():
    trigger = make_trigger("box", (1, 8, 8))
    images = torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)
    pasted = trigger.paste(images)
    for row, column in itertools.product(range(8), repeat=2):
        inside = 4 <= row <= 6 and 4 <= column <= 6
        expected = torch.zeros(2) if inside else images[:, 0, row, column]
        assert torch.equal(pasted[:, 0, row, column], expected)
    assert torch.equal(trigger.add_to(images), images + trigger.image)
    assert torch.equal(trigger.on(-1.0), trigger.image)
    assert not trigger.on(0.0).any()
    with pytest.raises(dataclasses.FrozenInstanceError):
        trigger.name = "other"


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 16, 16), (3, 32, 32)])
def test_no_two_pictures_are_alike(shape):
    pictures = [make_trigger(n, shape).image for n in TRIGGERS] + [make_target(n, shape) for n in TARGETS]
    for one, other in itertools.combinations(pictures, 2):
        assert float((one - other).square().mean()) > 0.03


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_at_every_size(name):
    for shape in SHAPES:
        target = make_target(name, shape)
        assert target.shape == shape
        assert target.dtype == torch.float32
        assert float(target.min()) >= -1
        assert 0 <= float(target.max()) <= 1
        assert (target > -1).any(0).float().mean() > 0.1
    assert float(make_target(name, (1, 8, 8), background=-0.4).min()) >= -0.7


@pytest.mark.parametrize("name", TARGETS)
def test_drawings_keep_their_shape_when_they_grow(name):
    small, large = (make_target(name, (1, n, n))[0].numpy() for n in (16, 64))
    reduced = large.reshape(16, 4, 16, 4).mean((1, 3))
    assert np.corrcoef(small.ravel(), reduced.ravel())[0, 1] > 0.85


def picture(path, size=(20, 10), mode="RGBA"):
    pixels = np.zeros((size[1], size[0], 4), dtype=np.uint8)
    pixels[:, : size[0] // 2] = (255, 0, 0, 255)
    pixels[:, size[0] // 2 :] = (0, 255, 0, 0)
    Image.fromarray(pixels).convert(mode).save(path)
    return str(path)


def test_a_picture_of_the_users_with_alpha(tmp_path):
    trigger = make_trigger(picture(tmp_path / "red.png"), (3, 8, 8))
    assert trigger.name == "red"
    assert torch.equal(trigger.mask[0], torch.tensor([1.0] * 4 + [0.0] * 4).expand(8, 8))
    assert trigger.image[:, 0, 0].tolist() == [1, -1, -1]
    assert trigger.image[:, 0, 7].tolist() == [-1, -1, -1]
    target = make_target(picture(tmp_path / "red.png"), (1, 8, 8), background=0.0)
    assert float(target[0, 0, 7]) == 0
    assert float(target[0, 0, 0]) == pytest.approx(2 * 0.299 - 1, abs=1e-5)


def test_a_jpeg_covers_everything(tmp_path):
    trigger = make_trigger(picture(tmp_path / "a.jpg", mode="RGB"), (3, 16, 16))
    assert bool(trigger.mask.all())
    assert float(trigger.image[0, 8, 2]) == pytest.approx(1, abs=0.1)


def test_unusable_pictures_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    Image.new("RGB", (4, 4)).save(tmp_path / "disguised.png", format="GIF")
    whole = (tmp_path / "ok.png", picture(tmp_path / "ok.png", size=(200, 200)))[0].read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name in ("broken.png", "disguised.png", "cut.png"):
        with pytest.raises(UserError, match=f"cannot read .*{name}"):
            make_trigger(str(tmp_path / name), (3, 8, 8))
    with pytest.raises(UserError, match="no such picture"):
        make_target(str(tmp_path / "missing.png"), (3, 8, 8))
    monkeypatch.setattr(drawing, "MAX_PIXELS", 100)
    with pytest.raises(UserError, match="200x200"):
        make_trigger(str(tmp_path / "ok.png"), (3, 8, 8))
    monkeypatch.setattr(drawing, "MAX_FILE_BYTES", 10)
    with pytest.raises(UserError, match="bigger than"):
        make_trigger(str(tmp_path / "ok.png"), (3, 8, 8))


def test_unknown_names_and_shapes():
    with pytest.raises(UserError, match="did you mean 'glasses'"):
        make_trigger("glases", (1, 8, 8))
    with pytest.raises(UserError, match="choose one of cross"):
        make_target("zzz", (1, 8, 8))
    for shape in ((2, 8, 8), (1, 4, 8), (1, 8, 4096)):
        with pytest.raises(UserError, match="image shape"):
            make_trigger("box", shape)


def test_parameters_name_every_built_in_trigger_and_target() -> None:
    assert tuple(TRIGGERS) == TRIGGER_NAMES and tuple(TARGETS) == TARGET_NAMES
