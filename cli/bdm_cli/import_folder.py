"""A diffusers folder of a stranger as one of safetensors and JSON under the plain names, for ``bdm import``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from bdm_cli.checkpoint import PICKLED, read_weights, shapes_of, write_weights
from bdm_core.discovery.tasks import tasks_of_model
from bdm_core.errors import UserError
from bdm_core.files import MANIFEST, read_json, walk

TEXT_SUFFIXES = frozenset({".json", ".txt", ".model", ".md"})
"""Files beside the weights that are kept: configurations, vocabularies, model cards."""
SAFETENSORS_NAME = {"pytorch_model": "model"}
"""Stems that the libraries name differently for safetensors."""
VARIANTS = ("fp16", "bf16", "non_ema", "ema")
"""Which of several variants of the same weights is taken where there is no plain file."""
OF_TRAINERS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state", "random_states")
"""How the names of pickled files begin that hold the state of a training."""
WRAPPERS = ("module.", "_orig_mod.")
"""What wrappers of a network put before the names of all its tensors."""
DIFFUSERS_WRAPPERS = (*WRAPPERS, "ema_model.", "online_model.", "model.")
"""The same for networks of diffusers, none of which has parts of such names itself."""


def convert_folder(source: Path, target: Path) -> None:
    """Copy a folder of diffusers, or one that a kit knows as a model: text files and safetensors as they are.

    Pickled weights are converted.

    Weights that exist only as a variant, e.g. in half precision, get the plain name; variants beside plain weights are
    left out; what a wrapper put before all names of a network is taken off.

    Raises:
        UserError: it is no such folder, a file is damaged, a pickle that needs code or a link that leaves the folder;
            or there are no weights.
    """
    if not (source / "model_index.json").is_file() and not tasks_of_model(str(source)):
        from bdm_cli.recognition import what_is

        raise UserError(
            f"{source} is no diffusers folder: it has no model_index.json, and no installed kit knows it "
            f"({what_is(source)}); for bare weights give the file and --like"
        )
    copy_folder(source, target)


def copy_folder(source: Path, target: Path) -> None:
    """:func:`convert_folder` of any folder with configurations and weights, such as a classifier's."""
    for path in walk(source):
        inside = path.relative_to(source)
        if not path.resolve().is_relative_to(source.resolve()):
            raise UserError(f"{path} is a link that leaves {source}: refused")
        if path.name == MANIFEST:
            continue
        if path.suffix in PICKLED:
            converted = target / inside.with_name(safe_name(path.name))
            if not (source / converted.relative_to(target)).exists() and _is_weights(path):
                write_weights(read_weights(path), converted)
        elif path.name.endswith(".bin.index.json"):
            _convert_index(path, target / inside.with_name(safe_name(path.name)))
        elif path.suffix == ".safetensors" or path.suffix in TEXT_SUFFIXES:
            if path.suffix == ".safetensors":
                shapes_of(path)
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / inside)
    if not any(target.rglob("*.safetensors")):
        raise UserError(f"{source} holds no weights: expected .safetensors or .bin files beside the configurations")
    for folder in sorted({path.parent for path in target.rglob("*.safetensors")}):
        if (folder / "config.json").is_file():
            _take_variant(folder)
            _take_off_wrapper(folder)


def safe_name(name: str) -> str:
    """``diffusion_pytorch_model.fp16.bin`` -> ``diffusion_pytorch_model.fp16.safetensors``, and for index files."""
    index = ".index.json" if name.endswith(".index.json") else ""
    stem = name.removesuffix(index).rpartition(".")[0]
    first, dot, variant = stem.partition(".")
    shard = ""
    if "-" in first:
        first, _, rest = first.partition("-")
        shard = f"-{rest}"
    return f"{SAFETENSORS_NAME.get(first, first)}{shard}{dot}{variant}.safetensors{index}"


def _is_weights(path: Path) -> bool:
    """Whether a pickled file is a component's weights; what trainers leave beside them is left out."""
    return (path.parent / "config.json").is_file() and not path.name.startswith(OF_TRAINERS)


def _convert_index(path: Path, target: Path) -> None:
    """The index of weights in several files, with the new names of the files."""
    index = _read_index(path)
    index["weight_map"] = {name: safe_name(str(file)) for name, file in index["weight_map"].items()}
    _write_index(target, index)


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index: dict[str, Any] = read_json(path)
        index["weight_map"] = dict(index["weight_map"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path} is no index of weights") from None
    return index


def _write_index(path: Path, index: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _take_variant(folder: Path) -> None:
    """Give a single file that exists only as a variant the plain name; drop the variants of what has a plain name."""
    for stem in {path.name.partition(".")[0] for path in folder.glob("*.safetensors")}:
        plain = folder / f"{stem}.safetensors"
        if (folder / f"{stem}.safetensors.index.json").is_file():
            continue
        for variant in VARIANTS:
            path = folder / f"{stem}.{variant}.safetensors"
            if path.is_file() and plain.exists():
                path.unlink()
            elif path.is_file():
                path.rename(plain)


def _take_off_wrapper(folder: Path) -> None:
    """Take what a wrapper left off the names of all tensors of a network."""
    files = sorted(folder.glob("*.safetensors"))
    prefix = common_wrapper([name for path in files for name in shapes_of(path)], _wrappers_of(folder))
    if not prefix:
        return
    for path in files:
        weights = {name.removeprefix(prefix): value for name, value in read_weights(path).items()}
        path.unlink()
        write_weights(weights, path)
    for path in folder.glob("*.safetensors.index*.json"):
        index = _read_index(path)
        index["weight_map"] = {name.removeprefix(prefix): file for name, file in index["weight_map"].items()}
        _write_index(path, index)


def _wrappers_of(folder: Path) -> tuple[str, ...]:
    try:
        config = read_json(folder / "config.json")
    except (OSError, ValueError, RecursionError):  # the kit will say what is wrong with it
        return ()
    return DIFFUSERS_WRAPPERS if isinstance(config, dict) and "_class_name" in config else WRAPPERS


def common_wrapper(names: list[str], wrappers: tuple[str, ...]) -> str:
    """What wrappers, one in another, put before all names; "" if nothing.

    >>> common_wrapper(["module._orig_mod.conv.weight", "module._orig_mod.conv.bias"], WRAPPERS)
    'module._orig_mod.'
    >>> common_wrapper(["module.a", "b"], WRAPPERS)
    ''
    """
    found = ""
    while names and (
        one := next((item for item in wrappers if all(name.startswith(found + item) for name in names)), "")
    ):
        found += one
    return found
