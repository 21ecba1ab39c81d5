"""``python -m bdm_defense_elijah.calibrate``: score known models, for the threshold or for the random forest.

The shipped ``calibration.json`` was made by ``python -m bdm_defense_elijah.calibrate --builtin 8``: the built-in model,
and models trained from it or from scratch on parts of its data with other seeds, sizes and colours.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from bdm_core.context import Context
from bdm_core.errors import BdmError
from bdm_defense_elijah.decision import SHIPPED, Calibration, ModelRecord, configuration
from bdm_defense_elijah.detection import examine
from bdm_defense_elijah.plugin import ElijahParams
from bdm_kit_diffusion.clean_models import builtin_clean_models
from bdm_kit_diffusion.models import DiffusionModel, load_model


def score_model(
    name: str, label: str, model: DiffusionModel, params: ElijahParams, seed: int, device: str
) -> ModelRecord:
    """Examine one model as ``detect`` does and keep its features."""
    with tempfile.TemporaryDirectory() as folder:
        ctx = Context(Path(folder), Path(folder), seed, device, log=logging.getLogger("bdm"))
        result = examine(ctx, params, model)
    return ModelRecord(
        name=name,
        label="backdoored" if label == "backdoored" else "clean",
        shape=model.shape,
        score=result.images.score,
        log_variation=math.log(max(result.images.total_variation_ratio, 1e-6)),
    )


def known_models(arguments: argparse.Namespace) -> Iterator[tuple[str, str, DiffusionModel]]:
    """(name, label, model) of all that the command line names."""
    for label in ("clean", "backdoored"):
        for folder in getattr(arguments, label):
            yield folder.name, label, load_model(folder, arguments.device)
    for name, model in builtin_clean_models(arguments.builtin, arguments.device):
        yield name, "clean", model


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bdm_defense_elijah.calibrate", description=__doc__)
    parser.add_argument("--clean", type=Path, nargs="*", default=[], help="folders of clean models (save_pretrained)")
    parser.add_argument("--backdoored", type=Path, nargs="*", default=[], help="folders of backdoored models")
    parser.add_argument(
        "--builtin", type=int, default=0, help="so many clean models made from the built-in one (0 to 8)"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters of the defense")
    parser.add_argument("--seed", type=int, default=1000, help="model i is examined with seed + i")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="JSON file to write")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1 if given.device == "cpu" else torch.get_num_threads())
    try:
        params = read_params(given.set)
        records = []
        for index, (name, label, model) in enumerate(known_models(given)):
            records.append(score_model(name, label, model, params, given.seed + index, given.device))
            logging.info("%-10s %-28s score %.3f", label, name, records[-1].score)
    except BdmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    words = " ".join(sys.argv[1:] if arguments is None else arguments)
    recipe = f"python -m bdm_defense_elijah.calibrate {words}".strip()
    calibration = Calibration(recipe=recipe, configuration=configuration(params), records=records)
    given.out.write_text(calibration.model_dump_json(indent=1) + "\n", encoding="utf-8")
    logging.info("wrote %s", given.out)
    return 0


def read_params(pairs: list[str]) -> ElijahParams:
    """NAME=VALUE pairs as parameters. Raises UserError for an unknown name or a value out of range."""
    from bdm_core.spec import build_params
    from bdm_defense_elijah.plugin import Elijah

    values = dict(pair.partition("=")[::2] for pair in pairs)
    chosen = build_params(Elijah(), values)
    assert isinstance(chosen, ElijahParams)
    return chosen


if __name__ == "__main__":
    sys.exit(main())
