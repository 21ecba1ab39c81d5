"""The calibration of a one-class detector as a file, and the command that makes one.

A detector of models ships ``calibration.json``: its features of clean models, the configuration that they were found
with, and the command that found them. `python -m PACKAGE.calibrate` is :func:`calibrate` with the detector's own
``features_of``. A file for a detector that can also learn from backdoored models may hold such, with a label.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import JsonValue, ValidationError

from bdm_core.artifacts import Record
from bdm_core.errors import BdmError, UserError
from bdm_core.plugin import Params, Plugin
from bdm_core.run.specification import build_params

Named = tuple[str, Any]
"""A model's name for the record and the model, as a kit opens it; it has ``shape``, (C, H, W)."""


class ModelRecord(Record):
    """One known model.

    Attributes:
        name: free text.
        shape: (C, H, W) of what its network works on.
        features: the detector's, in its order.
        backdoored: False for a clean model.
    """

    name: str
    shape: tuple[int, int, int]
    features: list[float]
    backdoored: bool = False


class Calibration(Record):
    """Features of clean models, and for some detectors of backdoored ones."""

    schema_version: Literal[1] = 1
    recipe: str
    configuration: dict[str, JsonValue]
    records: list[ModelRecord]

    def clean(self) -> list[list[float]]:
        """The features of each clean model."""
        return [record.features for record in self.records if not record.backdoored]

    def column(self, index: int = 0) -> list[float]:
        """One feature of all clean models."""
        return [features[index] for features in self.clean()]

    def fingerprint(self) -> str:
        """SHA-256, for the evidence."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Calibrated:
    """A detector that has a calibration.

    Attributes:
        name: of the plugin.
        package: that has the module ``calibrate`` and, beside it, ``calibration.json``.
        parameters: names of those that the features depend on.
        features: how many there are.
        labelled: whether it can also learn from backdoored models; without it a file with such is refused.
    """

    name: str
    package: str
    parameters: tuple[str, ...]
    features: int = 1
    labelled: bool = False

    @property
    def shipped(self) -> Path:
        """The calibration that comes with the detector."""
        module = sys.modules[self.package]
        assert module.__file__ is not None
        return Path(module.__file__).with_name("calibration.json")

    def configuration(self, params: Params) -> dict[str, JsonValue]:
        """The parameters that the features depend on, as JSON."""
        values = params.model_dump(mode="json")
        return {key: values[key] for key in self.parameters}

    def read(self, path: str | Path = "") -> Calibration:
        """Read a calibration file; "" is the one shipped. Raises UserError if it is none."""
        place = Path(path) if path else self.shipped
        try:
            known = Calibration.model_validate_json(place.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"cannot read the calibration {place}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "file"
            raise UserError(f"{place} is no calibration of {self.name}: {where}: {first['msg']}") from None
        if any(len(record.features) != self.features for record in known.records):
            raise UserError(f"{place} is no calibration of {self.name}: it needs {self.features} features a model")
        if not self.labelled and any(record.backdoored for record in known.records):
            raise UserError(f"{place} is no calibration of {self.name}: it takes clean models only")
        return known

    def warnings(self, params: Params, known: Calibration) -> list[str]:
        """One line if the features were found with another configuration."""
        mine = self.configuration(params)
        other = [key for key in mine if known.configuration.get(key) != mine[key]]
        if not other:
            return []
        return [
            f"{self.name}'s calibration was made with other values of {', '.join(other)}: its threshold may not "
            f"hold; calibrate again with `python -m {self.package}.calibrate`"
        ]


@dataclass(frozen=True)
class Family:
    """Clean models that the command can make, by the option ``--NAME COUNT``, or ``--NAME MODEL COUNT`` for each base.

    Attributes:
        name: of the option, without dashes.
        help: one line.
        make: (count, device) -> named models on the device, made one after the other; with a base (MODEL, count,
            device).
        based: whether the option names a base; it may then be given several times.
    """

    name: str
    help: str
    make: Callable[..., Iterator[Named]]
    based: bool = False

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """The option."""
        if self.based:
            form: dict[str, Any] = {"nargs": 2, "action": "append", "default": [], "metavar": ("MODEL", "COUNT")}
        else:
            form = {"type": int, "default": 0, "metavar": "COUNT"}
        parser.add_argument(f"--{self.name}", dest=self.name, help=self.help, **form)

    def models(self, given: Any, device: str) -> Iterator[Named]:
        """The models that the option's value asks for."""
        if not self.based:
            yield from self.make(given, device)
            return
        for base, count in given:
            yield from self.make(base, int(count), device)


@dataclass(frozen=True)
class ModelSource:
    """Where the command gets models from: a kit has one, to which a detector may add families.

    Attributes:
        open: (folder, device) -> the model on the device.
        families: clean models that can be made, in this order.
    """

    open: Callable[[Path, str], Any]
    families: tuple[Family, ...] = ()


def read_pair(pair: str) -> tuple[str, Any]:
    """NAME=VALUE; the value is JSON if it can be read as such, e.g. a list of starts, else text."""
    name, _, value = pair.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def calibrate(
    detector: Calibrated,
    plugin: Plugin,
    features_of: Callable[[Any, Any, int, str], list[float]],
    source: ModelSource,
    arguments: Sequence[str] | None = None,
) -> int:
    """The command line of ``python -m PACKAGE.calibrate``; returns the exit code.

    Args:
        detector: whose calibration it is.
        plugin: for its parameters.
        features_of: (model on the device, parameters, seed, device) -> the features.
        source: of the models.
        arguments: of the command line; None: those of the process.
    """
    prog = f"python -m {detector.package}.calibrate"
    given = command_line(detector, prog, source).parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1 if given.device == "cpu" else torch.get_num_threads())
    try:
        params = build_params(plugin, dict(read_pair(pair) for pair in given.set))
        records = []
        for index, (name, model, backdoored) in enumerate(known_models(given, source)):
            found = features_of(model, params, given.seed + index, given.device)
            records.append(ModelRecord(name=name, shape=model.shape, features=found, backdoored=backdoored))
            values = " ".join(f"{value:.4f}" for value in found)
            logging.info("%-10s %-40s %s", "backdoored" if backdoored else "clean", name, values)
    except BdmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    recipe = " ".join([prog, *(sys.argv[1:] if arguments is None else arguments)])
    known = Calibration(recipe=recipe, configuration=detector.configuration(params), records=records)
    given.out.write_text(known.model_dump_json(indent=1) + "\n", encoding="utf-8")
    logging.info("wrote %s", given.out)
    return 0


def command_line(detector: Calibrated, prog: str, source: ModelSource) -> argparse.ArgumentParser:
    """The options of :func:`calibrate`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{detector.name}'s features of known models")
    parser.add_argument("--clean", type=Path, nargs="*", default=[], help="folders of clean models (save_pretrained)")
    if detector.labelled:
        parser.add_argument("--backdoored", type=Path, nargs="*", default=[], help="folders of backdoored models")
    for family in source.families:
        family.add_to(parser)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters of the defense")
    parser.add_argument("--seed", type=int, default=1000, help="model i is examined with seed + i")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=detector.shipped, help="JSON file to write")
    return parser


def known_models(given: argparse.Namespace, source: ModelSource) -> Iterator[tuple[str, Any, bool]]:
    """(name, model, whether it is backdoored) of all that the command line names, made one after the other."""
    for folder in given.clean:
        yield folder.name, source.open(folder, given.device), False
    for folder in getattr(given, "backdoored", []):
        yield folder.name, source.open(folder, given.device), True
    for family in source.families:
        for name, model in family.models(getattr(given, family.name), given.device):
            yield name, model, False
