"""Read pickled weights without running their code, and write them as safetensors. ``torch.load`` is used only here."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_cli.weights_kind import EMBEDDING
from bdm_core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt"})
WRAPPERS = ("ema_state_dict", "model_ema", "ema", "state_dict", "model_state_dict", "model", "module", "unet", "params")
"""Keys under which training scripts keep weights; averaged weights are preferred, because they are what is sampled."""
DEEPEST = 8
MOST_COPIES = 16
"""So many times the size of a file its tensors may have together; some share their memory."""
PREFIXES = ("module.", "model.", "_orig_mod.", "unet.", "ema_model.", "online_model.")

Shapes = dict[str, tuple[int, ...]]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file or a pickled state dict, loaded on the CPU with ``weights_only=True``.

    Raises:
        UserError: the file is damaged, needs code to be loaded, holds no tensors, or torch is not installed.
    """
    try:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise UserError("bdm import needs PyTorch: bdm plugins install bdm-kit-diffusion") from None
    import pickle

    if is_pointer(path):
        raise UserError(f"{path} is a Git LFS pointer, not the weights: run git lfs pull")
    try:
        if path.suffix == ".safetensors":
            safe: dict[str, Tensor] = load_file(path)
            return safe
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's and pickle's remarks on old or odd formats
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "Unsupported" in line), "it is no plain state dict")
        raise UserError(
            f"{path} needs code of its author to be loaded and is refused ({' '.join(reason.split())[:160]}): "
            "ask for safetensors, or for a plain state dict of tensors"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(f"{path} is no readable checkpoint: {reason}") from None
    weights = find_weights(loaded)
    if isinstance(loaded, Mapping) and "string_to_param" in loaded:
        raise UserError(f"{path} is {EMBEDDING}")
    if not weights:
        raise UserError(f"{path} holds no tensors by name: expected a state dict")
    for name, value in weights.items():
        if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
            kind = "quantised" if value.is_quantized else value.device.type if value.device.type != "cpu" else "sparse"
            raise UserError(f"{path}: tensor {name!r} is {kind}: save it as an ordinary tensor with its values")
    _refuse_repeated(path, weights)
    return weights


def _refuse_repeated(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse tensors that stand for much more than the file holds: a pickle may say one number 10^12 times."""
    sizes = {name: value.numel() * value.element_size() for name, value in weights.items()}
    total, held = sum(sizes.values()), path.stat().st_size
    if total > MOST_COPIES * held + 2**20:
        name = max(sizes, key=sizes.__getitem__)
        raise UserError(
            f"{path} has {held} bytes and tensors of {total}, {name!r} of {sizes[name]}: it repeats its values, save "
            "them as ordinary tensors"
        )


def find_weights(loaded: Any, depth: int = 0) -> dict[str, Tensor]:
    """The state dict in what a checkpoint holds: itself, under one of :data:`WRAPPERS`, or first in a list.

    Args:
        loaded: what the file holds.
        depth: how deep within it that is; what lies deeper than :data:`DEEPEST` is not looked at.
    """
    from torch import Tensor

    if depth > DEEPEST:  # it may contain itself
        return {}
    if isinstance(loaded, list | tuple):
        return next((found for item in loaded if (found := find_weights(item, depth + 1))), {})
    if not isinstance(loaded, Mapping):
        return {}
    for name in WRAPPERS:
        if isinstance(loaded.get(name), Mapping) and (found := find_weights(loaded[name], depth + 1)):
            return found
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}


def fit(weights: Mapping[str, Tensor], shapes: Shapes) -> dict[str, Tensor] | str:
    """The weights under the names of ``shapes`` (known prefixes taken off), or one phrase that says what differs."""
    best = ""
    for prefix in ("", *PREFIXES):
        renamed = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        missing = sorted(set(shapes) - set(renamed))
        wrong = sorted(name for name in set(shapes) & set(renamed) if tuple(renamed[name].shape) != shapes[name])
        if not missing and not wrong:
            return {name: renamed[name] for name in shapes}
        if wrong and len(missing) < len(shapes):
            best = f"{wrong[0]} has shape {list(renamed[wrong[0]].shape)}, expected {list(shapes[wrong[0]])}"
        elif not best:
            best = f"{len(missing)} of {len(shapes)} tensors are missing, e.g. {missing[0]}"
    return best


def shapes_of(path: Path) -> Shapes:
    """Names and shapes of the tensors in a safetensors file, from its header alone.

    Raises:
        UserError: the file is no safetensors file, cut off, or a Git LFS pointer.
    """
    from safetensors import SafetensorError, safe_open

    if is_pointer(path):
        raise UserError(f"{path} is a Git LFS pointer, not the weights: run git lfs pull")
    try:
        with safe_open(path, framework="numpy") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no safetensors file, or cut off or damaged: {error}") from None


def is_pointer(path: Path) -> bool:
    """Whether a file stands for one in Git's large file storage that was not fetched.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(64).startswith(b"version https://git-lfs")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def write_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors; tensors that share memory are written each by itself."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().clone().contiguous() for name, value in weights.items()}, path, {"format": "pt"})
