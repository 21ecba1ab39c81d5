"""``python -m bdm_defense_diff_cleanse.calibrate``: scores of clean models, for the threshold.

The shipped ``calibration.json`` says in ``recipe`` with which command it was made.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from bdm_core.errors import BdmError
from bdm_core.spec import build_params
from bdm_defense_diff_cleanse.detection import SHIPPED, Calibration, ModelRecord, configuration
from bdm_defense_diff_cleanse.plugin import DiffCleanse, DiffCleanseParams
from bdm_defense_diff_cleanse.search import search
from bdm_kit_diffusion.clean_models import builtin_clean_models
from bdm_kit_diffusion.data import load_digits
from bdm_kit_diffusion.denoising import denoising_loss
from bdm_kit_diffusion.models import DiffusionModel, load_model
from bdm_kit_diffusion.references import BUILTIN
from bdm_kit_diffusion.training import TrainingOptions, train

TINY = (("digits-tiny", range(10), 0), ("tiny, fine-tuned", range(10), 150), ("tiny, on digits 0 to 4", range(5), 150),
        ("tiny, on digits 5 to 9", range(5, 10), 150))  # fmt: skip
"""Quick clean models: name, classes and steps of a fine-tuning of the smaller built-in model."""


def clean_models(arguments: argparse.Namespace) -> Iterator[tuple[str, DiffusionModel]]:
    """(name, model) of all that the command line names."""
    for folder in arguments.clean:
        yield folder.name, load_model(folder, arguments.device)
    for seed, (name, classes, steps) in enumerate(TINY[: arguments.tiny]):
        yield name, tiny_model(classes, steps, seed, arguments.device)
    yield from builtin_clean_models(arguments.builtin, arguments.device)


def tiny_model(classes: range, steps: int, seed: int, device: str) -> DiffusionModel:
    """The smaller built-in model, fine-tuned on the digits of some classes."""
    model = load_model(BUILTIN / "digits-tiny", device)
    images, labels = load_digits()
    if steps:
        chosen = images[torch.isin(labels, torch.tensor(list(classes)))]
        options = TrainingOptions(steps=steps, learning_rate=2e-3, warmup_steps=25, ema_decay=0.99)
        train(model.unet, denoising_loss(chosen, model.scheduler), options, seed=seed, device=device)
    return model


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bdm_defense_diff_cleanse.calibrate", description=__doc__)
    parser.add_argument("--clean", type=Path, nargs="*", default=[], help="folders of clean models (save_pretrained)")
    parser.add_argument(
        "--builtin", type=int, default=0, help="so many clean models made from the built-in one (0 to 8)"
    )
    parser.add_argument("--tiny", type=int, default=0, help="so many of the four made from digits-tiny, in a minute")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters of the defense")
    parser.add_argument("--seed", type=int, default=1000, help="model i is examined with seed + i")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="JSON file to write")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1 if given.device == "cpu" else torch.get_num_threads())
    try:
        params = build_params(DiffCleanse(), dict(pair.partition("=")[::2] for pair in given.set))
        assert isinstance(params, DiffCleanseParams)
        records = []
        for index, (name, model) in enumerate(clean_models(given)):
            found = search(model, params, given.seed + index, given.device)
            records.append(ModelRecord(name=name, shape=model.shape, score=found.best.score))
            logging.info("%-34s MSCR %.4f (%s, %s)", name, found.best.score, found.best.start, found.best.sampler)
    except BdmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    words = " ".join(sys.argv[1:] if arguments is None else arguments)
    recipe = f"python -m bdm_defense_diff_cleanse.calibrate {words}".strip()
    known = Calibration(recipe=recipe, configuration=configuration(params), records=records)
    given.out.write_text(known.model_dump_json(indent=1) + "\n", encoding="utf-8")
    logging.info("wrote %s", given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
