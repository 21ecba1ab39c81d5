"""Write the parts of a pipeline as ``save_pretrained`` does, without anything that tells where they came from."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import diffusers

from bdm_kit_text_to_image.models.folders import WEIGHTS
from bdm_torch.tensors import holds, write_tensors


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """As ``save_pretrained`` does, and vocabulary and merges for readers of older versions."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:  # how the last prompts were padded is no property of the model
        backend.no_padding()
        backend.no_truncation()
    tokenizer.save_pretrained(folder)
    if backend is not None:
        backend.model.save(str(folder))
    for path in folder.glob("*config.json"):
        _clean(path, "name_or_path", "tokenizer_file", "vocab_file", "merges_file", "local_files_only", "is_local")


def write_text_encoder(encoder: Any, folder: Path, known: Path | None = None) -> None:
    """Configuration and weights of a text encoder, in transformers' layout.

    Args:
        encoder: a CLIP text model.
        folder: where to.
        known: the folder that it was loaded from, if that is sealed; see :func:`write_weights`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(encoder, folder, f"{WEIGHTS['text_encoder']}.safetensors", known)
    facts = {"architectures": [type(encoder).__name__], "dtype": str(encoder.dtype).removeprefix("torch.")}
    write_json(folder / "config.json", {**json.loads(encoder.config.to_json_string(use_diff=True)), **facts})
    _clean(folder / "config.json")


def write_network(network: Any, folder: Path, known: Path | None = None) -> None:
    """Configuration and weights of a UNet or autoencoder, in diffusers' layout; arguments as above."""
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(network, folder, f"{WEIGHTS['unet']}.safetensors", known)
    write_json(folder / "config.json", configuration(network))


def write_weights(network: Any, folder: Path, name: str, known: Path | None = None) -> bool:
    """Write the weights of a network, or link to a file that holds them already, bit for bit.

    Args:
        network: has them.
        folder: where to; it exists.
        name: of the file.
        known: a folder that may have such a file. Only a read-only one, as a store's are, is linked to: a file that may
            still change, as a user's own, is not.

    Returns:
        Whether a link was made.
    """
    weights, target = network.state_dict(), folder / name
    target.unlink(missing_ok=True)  # it may be a link to what must not change
    source = None if known is None else known / name
    if source is not None and is_read_only(source) and holds(source, weights):
        try:
            os.link(source, target)
        except OSError:  # another device, or a file system without hard links
            pass
        else:
            return True
    write_tensors(target, weights)
    return False


def is_read_only(path: Path) -> bool:
    """Whether it is a plain file that nobody has the permission to write."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


def configuration(part: Any) -> dict[str, Any]:
    """A part's configuration without private entries such as the path that it was loaded from."""
    public = {key: value for key, value in json.loads(part.to_json_string()).items() if not key.startswith("_")}
    return {"_class_name": type(part).__name__, "_diffusers_version": diffusers.__version__, **public}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object with sorted keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _clean(path: Path, *names: str) -> None:
    """Take what tells where the model came from out of a JSON file."""
    value = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {key: item for key, item in value.items() if key not in ("_name_or_path", *names)})
