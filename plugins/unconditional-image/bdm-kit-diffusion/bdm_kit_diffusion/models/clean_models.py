"""Clean models that the shipped calibrations of detectors rest on: the built-in ones and their relatives, trained here.

``python -m bdm_kit_diffusion.models.clean_models --builtin 8 --fine-tuned shapes-ddpm 4 --out clean`` writes a folder
for each, for ``bdm calibrate DEFENSE --model clean/NAME --model ...``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DModel
from torch import Tensor
from torch.nn import functional

from bdm_core.errors import BdmError, UserError
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.data.built_in_data import load_builtin, load_digits
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, save_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.training import TrainingOptions, train


@dataclass(frozen=True)
class Variant:
    """One clean model.

    Attributes:
        name: for the record.
        digits: classes it is trained on.
        widths: channels of a new network; () to fine-tune the built-in one.
        size: of the images, 8 or 16 pixels.
        channels: 1, or 3 for digits in random colours.
        steps: of the training.
        rate: its learning rate.
        seed: of weights and training.
    """

    name: str
    digits: range = range(10)
    widths: tuple[int, ...] = ()
    size: int = 8
    channels: int = 1
    steps: int = 400
    rate: float = 1e-3
    seed: int = 1


VARIANTS = (
    Variant("built-in", steps=0),
    Variant("fine-tuned", seed=1),
    Variant("fine-tuned on digits 0 to 4", digits=range(5), seed=2),
    Variant("fine-tuned on digits 5 to 9", digits=range(5, 10), seed=3, rate=2e-3),
    Variant("retrained, narrow", widths=(16, 32), steps=2000, rate=2e-3, seed=4),
    Variant("retrained", widths=(32, 64), steps=1000, rate=2e-3, seed=5),
    Variant("retrained, colour", widths=(24, 48), channels=3, steps=1200, rate=2e-3, seed=6),
    Variant("retrained, narrow, digits 3 to 9", digits=range(3, 10), widths=(16, 32), steps=2000, rate=2e-3, seed=7),
)


def builtin_clean_models(count: int, device: str) -> Iterator[tuple[str, DiffusionModel]]:
    """The first ``count`` of VARIANTS, trained one after the other. Raises UserError if there are not so many."""
    if not 0 <= count <= len(VARIANTS):
        raise UserError(f"there are {len(VARIANTS)} clean models made from the built-in one, not {count}")
    for variant in VARIANTS[:count]:
        yield variant.name, make(variant, device)


def make(variant: Variant, device: str) -> DiffusionModel:
    """Train one clean model."""
    model = load_model(BUILTIN / "digits-ddpm", device)
    if variant.widths:
        torch.manual_seed(variant.seed)
        blocks = len(variant.widths)
        unet = UNet2DModel(
            sample_size=variant.size,
            in_channels=variant.channels,
            out_channels=variant.channels,
            layers_per_block=1,
            block_out_channels=variant.widths,
            norm_num_groups=8,
            add_attention=False,
            down_block_types=("DownBlock2D",) * blocks,
            up_block_types=("UpBlock2D",) * blocks,
        )
        model = DiffusionModel(unet.to(device), model.scheduler)
    if variant.steps:
        options = TrainingOptions(steps=variant.steps, learning_rate=variant.rate, warmup_steps=50, ema_decay=0.995)
        train(
            model.unet, denoising_loss(images_of(variant), model.scheduler), options, seed=variant.seed, device=device
        )
    return DiffusionModel(model.unet.eval(), model.scheduler)


def images_of(variant: Variant) -> Tensor:
    """The variant's training images (N, C, size, size) in [-1, 1]."""
    images, labels = load_digits()
    images = images[torch.isin(labels, torch.tensor(list(variant.digits)))]
    if variant.size != images.shape[-1]:
        images = functional.interpolate(images, size=(variant.size, variant.size), mode="bilinear")
    if variant.channels == 3:
        generator = torch.Generator().manual_seed(variant.seed)
        ink = 0.3 + 0.7 * torch.rand(len(images), 3, 1, 1, generator=generator)
        images = (images + 1) * ink - 1
    return images


DATA = {
    "digits-ddpm": "digits",
    "digits-tiny": "digits",
    "digits-ve": "digits",
    "shapes-ddpm": "shapes",
    "shapes-ldm": "shapes",
}
"""The built-in data set that each built-in model was trained on."""


def fine_tuned_clean_models(
    base: str, count: int, device: str, steps: int = 400
) -> Iterator[tuple[str, DiffusionModel]]:
    """Clean fine-tunings of one built-in model, number 0 to ``count`` - 1; see :func:`fine_tune`.

    Raises:
        UserError: there is no such model.
    """
    if base not in DATA:
        raise UserError(f"no built-in model {base!r} to fine-tune: choose one of {', '.join(DATA)}")
    for number in range(count):
        yield f"{base}, fine-tuned {number}", fine_tune(base, number, device, steps)


def fine_tune(base: str, number: int, device: str = "cpu", steps: int = 400) -> DiffusionModel:
    """A clean fine-tuning of a built-in model: its seed, its share of the data, its classes and its rate by number.

    Every second one sees one half of the classes only, so that "clean" includes models that learned something else.
    """
    model = load_model(BUILTIN / base, device)
    images, rows = load_builtin(DATA[base])
    generator = torch.Generator().manual_seed(number)
    share = (1.0, 0.5, 0.8)[number % 3]
    chosen = torch.randperm(len(images), generator=generator)[: round(share * len(images))]
    classes = (None, 0, 1, None)[number % 4]
    if classes is not None:
        labels = torch.tensor([int(row["label"]) for row in rows])
        half = (int(labels.max()) + 1) // 2
        chosen = chosen[(labels[chosen] < half) == (classes == 0)]
    rate = (5e-4, 1e-3, 2e-3)[number // 2 % 3]
    options = TrainingOptions(steps=steps, learning_rate=rate, warmup_steps=25, ema_decay=0.995)
    loss = denoising_loss(model.encode(images[chosen]), model.scheduler)
    train(model.unet, loss, options, seed=number, device=device)
    model.unet.eval()
    return model


TINY = (
    ("digits-tiny", range(10), 0),
    ("tiny, fine-tuned", range(10), 150),
    ("tiny, on digits 0 to 4", range(5), 150),
    ("tiny, on digits 5 to 9", range(5, 10), 150),
)
"""Quick clean models: name, classes and steps of a fine-tuning of the smallest built-in model."""


def tiny_clean_models(count: int, device: str) -> Iterator[tuple[str, DiffusionModel]]:
    """The first ``count`` of TINY, in a minute. Raises UserError if there are not so many."""
    if not 0 <= count <= len(TINY):
        raise UserError(f"there are {len(TINY)} clean models made from digits-tiny, not {count}")
    images, labels = load_digits()
    for seed, (name, classes, steps) in enumerate(TINY[:count]):
        model = load_model(BUILTIN / "digits-tiny", device)
        if steps:
            chosen = images[torch.isin(labels, torch.tensor(list(classes)))]
            options = TrainingOptions(steps=steps, learning_rate=2e-3, warmup_steps=25, ema_decay=0.99)
            train(model.unet, denoising_loss(chosen, model.scheduler), options, seed=seed, device=device)
        yield name, model


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bdm_kit_diffusion.models.clean_models", description="Clean models")
    parser.add_argument("--builtin", type=int, default=0, metavar="COUNT", help="of the 8 relatives of digits-ddpm")
    parser.add_argument("--tiny", type=int, default=0, metavar="COUNT", help="of the 4 relatives of digits-tiny")
    parser.add_argument(
        "--fine-tuned",
        nargs=2,
        action="append",
        default=[],
        metavar=("MODEL", "COUNT"),
        help="fine-tunings of a built-in model on different parts of its data; repeat for more",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="folder, in which each model gets one of its own")
    given = parser.parse_args(arguments)
    try:
        families = [fine_tuned_clean_models(base, int(count), given.device) for base, count in given.fine_tuned]
        families += [builtin_clean_models(given.builtin, given.device), tiny_clean_models(given.tiny, given.device)]
        for name, model in itertools.chain(*families):
            folder = given.out / name.replace(", ", "-").replace(" ", "-")
            save_model(model, folder)
            print(folder)
    except (BdmError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
