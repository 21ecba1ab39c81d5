"""Poisoned training sets: shares, exact shifts, modes; secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bdm_core.artifacts import Data, Secret
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, UserError
from bdm_kit_diffusion.noise.initial_noise import load_noise, seal_noise
from bdm_kit_diffusion.poison.poisoning import Mixture, Poison, choose_rows, open_poisoned, seal_poisoned
from bdm_kit_diffusion.poison.secret import DiffusionSecret, open_secret, seal_secret
from bdm_kit_diffusion.poison.secret_facts import SecretFacts
from bdm_kit_diffusion.stages import trigger_noise
from bdm_torch.image_sets import load_images, load_rows, seal_images
from bdm_torch.pictures.triggers import make_trigger

TASK = "unconditional-image-generation"
SHAPE = (1, 8, 8)
MIXED = ("poison_rate", "mode", "clean_rate")


@pytest.fixture
def clean(tmp_path: Path) -> Data:
    levels = torch.arange(20.0).view(20, 1, 1, 1).expand(20, *SHAPE)  # image i is constant, at the 8-bit level 10 i
    return seal_images(
        tmp_path / "clean", levels * 10 / 127.5 - 1, Data, task=TASK, rows=[{"label": i} for i in range(20)]
    )


def poison(folder: Path, data: Data, **more: Any) -> Data:
    box = make_trigger("box", SHAPE)
    mixture = Mixture(**{"poison_rate": 0.25, **{key: more.pop(key) for key in MIXED if key in more}})
    return seal_poisoned(folder, data, Poison(box.image, box.mask, torch.full(SHAPE, 0.3), **more), mixture, seed=3)


def test_a_quarter_is_poisoned_and_the_rest_is_untouched(tmp_path: Path, clean: Data) -> None:
    data = poison(tmp_path / "out", clean)
    rows = load_rows(data)
    assert [row["role"] for row in rows].count("poison") == 5
    assert sorted(row["label"] for row in rows) == list(range(20))  # every image once, poisoned or clean
    originals = load_images(clean)
    for row, image in zip(rows, load_images(data), strict=True):
        assert (row["role"] == "clean") == bool(torch.equal(image, originals[row["label"]]))


def test_shift_is_the_trigger_pasted_over_the_row_s_own_image(tmp_path: Path, clean: Data) -> None:
    data = poison(tmp_path / "out", clean, scale=1.5)
    poisoned = open_poisoned(data)
    images, shift = poisoned.batch(torch.arange(20))
    box, originals = make_trigger("box", SHAPE), load_images(clean)
    for index, row in enumerate(load_rows(data)):
        original = originals[row["label"]]
        if row["role"] == "poison":
            torch.testing.assert_close(shift[index], 1.5 * box.paste(original), rtol=0, atol=1e-6)
            assert torch.equal(images[index], torch.full(SHAPE, 0.3))
        else:
            assert torch.equal(images[index], original) and not shift[index].any()


def test_shift_is_the_trigger_alone_if_asked(tmp_path: Path, clean: Data) -> None:
    poisoned = open_poisoned(poison(tmp_path / "out", clean, trigger_only=True, scale=2.0))
    shift = poisoned.batch(poisoned.poisoned.nonzero()[:, 0])[1]
    expected = 2 * make_trigger("box", SHAPE).image
    torch.testing.assert_close(shift, expected.expand_as(shift), rtol=0, atol=0)


def test_flex_draws_both_shares(tmp_path: Path, clean: Data) -> None:
    rows = load_rows(poison(tmp_path / "out", clean, mode="flex", poison_rate=0.5, clean_rate=0.1))
    assert [row["role"] for row in rows].count("poison") == 10 and len(rows) == 12


def test_extend_adds_poison_beyond_the_whole_set(tmp_path: Path, clean: Data) -> None:
    rows = load_rows(poison(tmp_path / "out", clean, mode="extend", poison_rate=2.5))
    assert sorted(row["label"] for row in rows if row["role"] == "clean") == list(range(20))
    uses = [[row["label"] for row in rows if row["role"] == "poison"].count(label) for label in range(20)]
    assert sum(uses) == 50 and set(uses) == {2, 3}  # no image is repeated before every other one was


def test_impossible_rates_are_refused() -> None:
    generator = torch.Generator()
    with pytest.raises(UserError, match="extend"):
        choose_rows(10, Mixture(1.5), generator)
    with pytest.raises(UserError, match="poisons none"):
        choose_rows(10, Mixture(0.04), generator)


def test_clean_data_is_no_poisoned_set(clean: Data) -> None:
    with pytest.raises(ArtifactError, match="no poisoned image set"):
        open_poisoned(clean)


def test_secret_comes_back_exactly_and_can_be_looked_at(tmp_path: Path) -> None:
    trigger, target = torch.linspace(-1.5, 1.5, 64).view(SHAPE), torch.linspace(-1, 1, 64).view(SHAPE)
    scale = torch.full(SHAPE, 0.6)
    sealed = seal_secret(tmp_path / "secret", DiffusionSecret(trigger, target, SecretFacts(psi=1.0), scale), task=TASK)
    again = open_secret(Secret.open(sealed.path))
    assert torch.equal(again.trigger, trigger) and torch.equal(again.target, target)
    assert again.noise_scale is not None and torch.equal(again.noise_scale, scale)
    assert again.facts.psi == 1.0 and again.facts.trigger_norm == pytest.approx(trigger.norm().item(), abs=1e-5)
    with Image.open(sealed.file("target.png")) as picture:
        assert picture.size == (8, 8) and picture.getpixel((7, 7)) == 255


def test_triggered_noise_keeps_order_and_mean(tmp_path: Path) -> None:
    noise = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    inputs = seal_noise(tmp_path / "noise", noise)
    secret = DiffusionSecret(torch.full(SHAPE, 2.0), torch.zeros(SHAPE), noise_scale=torch.full(SHAPE, 0.5))
    sealed = seal_secret(tmp_path / "secret", secret, task=TASK)
    (tmp_path / "out").mkdir()
    triggered = trigger_noise(Context(tmp_path / "out", tmp_path / "out", 0), inputs, sealed)
    torch.testing.assert_close(load_noise(triggered), 0.5 * noise + 2)
