"""``python -m bdm_defense_terd.calibrate``: M_r and V_r of clean models, for the threshold.

The shipped ``calibration.json`` was made by ``python -m bdm_defense_terd.calibrate --builtin 8``: the built-in model,
and clean relatives of it, fine-tuned or trained from scratch on parts of its data.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bdm_core.errors import BdmError
from bdm_core.spec import build_params
from bdm_defense_terd.decision import SHIPPED, Calibration, ModelRecord, configuration
from bdm_defense_terd.plugin import Terd, TerdParams
from bdm_defense_terd.search import search
from bdm_kit_diffusion.clean_models import builtin_clean_models
from bdm_kit_diffusion.models import DiffusionModel, load_model


def clean_models(arguments: argparse.Namespace) -> Iterator[tuple[str, DiffusionModel]]:
    """(name, model) of all that the command line names."""
    for folder in arguments.clean:
        yield folder.name, load_model(folder, arguments.device)
    yield from builtin_clean_models(arguments.builtin, arguments.device)


def read_pair(pair: str) -> tuple[str, Any]:
    """NAME=VALUE; the value is JSON if it can be read as such, e.g. a list of starts, else text."""
    name, _, value = pair.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bdm_defense_terd.calibrate", description=__doc__)
    parser.add_argument("--clean", type=Path, nargs="*", default=[], help="folders of clean models (save_pretrained)")
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
        params = build_params(Terd(), dict(read_pair(pair) for pair in given.set))
        assert isinstance(params, TerdParams)
        records = []
        for index, (name, model) in enumerate(clean_models(given)):
            mean, variance = search(model, params, given.seed + index).chosen.features
            records.append(ModelRecord(name=name, shape=model.shape, mean=mean, variance=variance))
            logging.info("%-34s M_r %.4f V_r %.4f", name, mean, variance)
    except BdmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    words = " ".join(sys.argv[1:] if arguments is None else arguments)
    recipe = f"python -m bdm_defense_terd.calibrate {words}".strip()
    known = Calibration(recipe=recipe, configuration=configuration(params), records=records)
    given.out.write_text(known.model_dump_json(indent=1) + "\n", encoding="utf-8")
    logging.info("wrote %s", given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
