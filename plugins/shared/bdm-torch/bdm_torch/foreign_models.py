"""Networks of strangers: whether a folder holds the weights that its configuration asks for, all of them and no more.

A network with a tensor that was not in the file computes with random numbers, and no verdict about it means anything.
So every kit opens networks by :func:`open_network` (libraries with ``from_pretrained``) or :func:`load_weights` (own
classes). :func:`find_weights` is light: no torch.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core.errors import ArtifactError
from bdm_core.files import read_json
from bdm_torch.configurations import check_numbers
from bdm_torch.weights import Entry, is_pointer, read_header

if TYPE_CHECKING:
    from torch import Tensor, nn

VARIANTS = (None, "fp16", "bf16", "non_ema", "ema")
"""What may stand between stem and ending of the files; a folder with none is taken first."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")
WRAPPERS = ("module.", "_orig_mod.", "model.", "ema_model.", "online_model.")
"""Prefixes that wrappers of a network put before the names of all its tensors."""
FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
COUNTERS = ("position_ids", "num_batches_tracked")
"""Tensors that hold whole numbers in ordinary networks."""
LARGEST_INDEX = 64 * 2**20
MOST_EXTRA = 10_000_000
"""So many numbers more than twice those in its files a network may ask for, before the lacking tensors are named."""


@dataclass(frozen=True)
class Weights:
    """The weight files of a network.

    Attributes:
        files: one, or those of an index.
        variant: e.g. ``fp16``, if only such files are there; else None.
        tensors: name -> type and shape, of all files.
    """

    files: tuple[Path, ...]
    variant: str | None
    tensors: dict[str, Entry]

    @property
    def count(self) -> int:
        """How many numbers the files hold."""
        return sum(math.prod(entry.shape) for entry in self.tensors.values())


def find_weights(folder: Path, stem: str) -> Weights:
    """The safetensors files of a network, checked by their headers alone.

    Args:
        folder: of the network.
        stem: of its files' names, e.g. ``diffusion_pytorch_model``.

    Raises:
        ArtifactError: there are none, or only pickles; one is cut off, a Git LFS pointer, or no safetensors; an index
            names other files than safetensors in the folder, or other tensors than they hold; weights are quantised;
            or the configuration asks for an adapter or a quantisation on top, or for impossible sizes.
    """
    for variant in VARIANTS:
        name = f"{stem}.{variant}.safetensors" if variant else f"{stem}.safetensors"
        index = folder / (f"{stem}.safetensors.index.{variant}.json" if variant else f"{stem}.safetensors.index.json")
        if index.is_file():
            tensors, files = _by_index(folder, index)
        elif (folder / name).is_file():
            tensors, files = read_header(folder / name), (folder / name,)
        else:
            continue
        if not tensors:
            raise ArtifactError(f"{folder / name} holds no tensors")
        _check_kind(folder, tensors)
        return Weights(files, variant, tensors)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles and is_pointer(folder / pickles[0]):
        raise ArtifactError(f"{folder / pickles[0]} is a Git LFS pointer, not the weights: run git lfs pull")
    if pickles:
        raise ArtifactError(
            f"{folder} has pickled weights ({pickles[0]}) and no {stem}.safetensors: convert them with "
            f"`bdm import {folder.parent if (folder.parent / 'model_index.json').is_file() else folder} --out NEW`"
        )
    raise ArtifactError(f"{folder} has no {stem}.safetensors")


def open_network(build: Any, folder: Path, stem: str, **options: Any) -> Any:
    """``build.from_pretrained`` of a library, whose network is given back only if its weights are those of the files.

    Args:
        build: a class of diffusers or transformers.
        folder: of its configuration and weights.
        stem: see :func:`find_weights`.
        options: further arguments of ``from_pretrained``.

    Returns:
        The network, on the CPU.

    Raises:
        ArtifactError: see :func:`find_weights`; or a tensor is missing, unknown, of another shape or not finite; or the
            configuration describes no network.
    """
    weights = find_weights(folder, stem)
    options = {"use_safetensors": True, "local_files_only": True, "variant": weights.variant, **options}
    try:
        with only_errors(build.__module__.partition(".")[0]):
            network, found = build.from_pretrained(folder, output_loading_info=True, **options)
    except Exception as error:  # the libraries' own classes, and whatever an odd configuration leads to
        raise ArtifactError(f"{folder} cannot be opened as a {build.__name__}: {first_line(error)}") from None
    require_same_names(folder, weights.tensors, found.get("missing_keys", ()), found.get("unexpected_keys", ()))
    require_finite(folder, network.state_dict())
    return network


def load_weights(network: nn.Module, folder: Path, stem: str) -> None:
    """Put the tensors of a network's files into it, in place.

    Args:
        network: made from the folder's configuration.
        folder, stem: see :func:`find_weights`.

    Raises:
        ArtifactError: see :func:`find_weights`; or a tensor is missing, unknown, of another shape or not finite.
    """
    from bdm_torch.tensors import read_tensors

    tensors, expected = {}, network.state_dict()
    for path in find_weights(folder, stem).files:
        tensors |= read_tensors(path)
    require_same_names(folder, tensors, expected.keys() - tensors.keys(), tensors.keys() - expected.keys())
    for name, value in tensors.items():
        if value.shape != expected[name].shape:
            raise ArtifactError(
                f"{folder}: {name} has shape {list(value.shape)}, expected {list(expected[name].shape)}: {NO_FIT}"
            )
    require_finite(folder, tensors)
    network.load_state_dict(tensors)


def require_room(folder: Path, stem: str, build: Callable[[], nn.Module]) -> None:
    """Refuse a configuration that asks for more numbers than the weight files hold, before memory is taken for them.

    Args:
        folder: of the network.
        stem: see :func:`find_weights`.
        build: makes the network from its configuration.

    Raises:
        ArtifactError: so it is; or the configuration describes no network.
    """
    import torch

    weights = find_weights(folder, stem)
    try:
        with torch.device("meta"):
            asked = sum(parameter.numel() for parameter in build().parameters())
    except Exception as error:  # see above
        raise ArtifactError(f"{folder}/config.json describes no network: {first_line(error)}") from None
    if asked > 2 * weights.count + MOST_EXTRA:
        raise ArtifactError(
            f"{folder} asks for {asked} numbers by its config.json, its weights hold {weights.count}: "
            "they do not fit its configuration"
        )


def require_same_names(place: Path, tensors: Iterable[str], missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Refuse weights that lack a tensor or have one too many.

    Args:
        place: for the message.
        tensors: names in the file.
        missing, unexpected: names, as the library found them after its own renamings.

    Raises:
        ArtifactError: there are any.
    """
    lacking, more, names = sorted(missing), sorted(unexpected), list(tensors)
    prefix = next((text for text in WRAPPERS if names and all(name.startswith(text) for name in names)), None)
    if lacking and prefix is not None:
        raise ArtifactError(
            f"{place}: the names of all weights begin with {prefix!r}, which a wrapper left there: take it off with "
            "`bdm import` (a folder as it is, a bare file with --like FOLDER)"
        )
    if lacking:
        raise ArtifactError(f"{place} has no weights for {lacking[0]}{_others(lacking)}: {NO_FIT}")
    if more:
        raise ArtifactError(f"{place} has weights for {more[0]}{_others(more)}, which it has no use for: {NO_FIT}")


NO_FIT = "they do not fit its configuration"


def require_finite(place: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raises ArtifactError, which names the first tensor that holds NaN or infinity."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ArtifactError(f"{place} holds NaN or infinity in {name}: the weights are damaged")


@contextmanager
def only_errors(library: str) -> Iterator[None]:
    """No warnings, no progress bars of diffusers or transformers: what they say of weights is said here, in a line.

    Args:
        library: its name.
    """
    log, bars = logging.getLogger(library), importlib.import_module(f"{library}.utils.logging")
    level, shown = log.level, bars.is_progress_bar_enabled()
    log.setLevel(logging.ERROR)
    bars.disable_progress_bar()
    try:
        yield
    finally:
        log.setLevel(level)
        if shown:
            bars.enable_progress_bar()


def require_ids(folder: Path, vocabulary: Mapping[str, int], rows: int) -> None:
    """Refuse a tokenizer with a token that the model has no embedding for.

    Args:
        folder: for the message.
        vocabulary: token -> its number.
        rows: how many embeddings there are.

    Raises:
        ArtifactError: there is one, or no token at all.
    """
    if not vocabulary:
        raise ArtifactError(f"{folder} has a tokenizer without tokens")
    token = max(vocabulary, key=vocabulary.__getitem__)
    if vocabulary[token] >= rows or min(vocabulary.values()) < 0:
        raise ArtifactError(
            f"{folder}: its tokenizer has {len(vocabulary)} tokens, up to number {vocabulary[token]} ({token!r:.40}), "
            f"and the model embeddings for {rows}: they do not fit"
        )


def first_line(error: Exception) -> str:
    """The beginning of an error's message, or what it is; a line that ends in a colon goes on with the next."""
    text = str(error).strip()
    if "ignore_mismatched_sizes" in text and "report" in text:  # transformers' report of them went to its log
        return "its weights have other shapes than its configuration asks for"
    bare = not text or isinstance(error, KeyError)  # whose message is the key alone
    lines = (f"{type(error).__name__} {text}".strip() if bare else text).splitlines()
    return " ".join(" ".join(lines[:2] if lines[0].rstrip().endswith(":") else lines[:1]).split())[:200]


def _others(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _by_index(folder: Path, index: Path) -> tuple[dict[str, Entry], tuple[Path, ...]]:
    try:
        if index.stat().st_size > LARGEST_INDEX:
            raise ValueError
        named: dict[str, str] = read_json(index)["weight_map"]
        files = sorted(set(named.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ArtifactError(f"{index} is no index of weights") from None
    tensors: dict[str, Entry] = {}
    for name in files:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise ArtifactError(f"{index} names {name!r}: weights are .safetensors files beside it, nothing else")
        held = read_header(folder / name)
        tensors |= held
        if odd := sorted(tensor for tensor in held if named.get(tensor) != name):
            raise ArtifactError(f"{index} does not say that {odd[0]} is in {name}, which has it")
    if odd := sorted(named.keys() - tensors.keys()):
        raise ArtifactError(f"{index} and its files do not agree about {odd[0]}")
    return tensors, tuple(folder / name for name in files)


def _check_kind(folder: Path, tensors: Mapping[str, Entry]) -> None:
    for name, entry in tensors.items():
        if entry.dtype not in FLOATS and not (entry.dtype == "I64" and name.endswith(COUNTERS)):
            raise ArtifactError(f"{folder}: {name} has the type {entry.dtype}: quantised weights are not supported")
    if (folder / "adapter_config.json").exists():
        raise ArtifactError(f"{folder} holds an adapter (adapter_config.json): merge it into the weights first")
    try:
        config = read_json(folder / "config.json")
    except FileNotFoundError:  # a kit's own network may need none; the libraries name it themselves
        return
    except (OSError, ValueError, RecursionError):
        raise ArtifactError(f"{folder} has no config.json that can be read") from None
    if not isinstance(config, dict):
        raise ArtifactError(f"{folder}/config.json is no JSON object")
    check_numbers(folder / "config.json", config)
    if config.get("quantization_config") is not None:
        raise ArtifactError(f"{folder}/config.json has a quantization_config: quantised weights are not supported")
