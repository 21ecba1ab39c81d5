"""Write the parts of a pipeline as ``save_pretrained`` does, without anything that tells where they came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers

from bdm_kit_text_to_image.models.folders import WEIGHTS
from bdm_kit_text_to_image.models.quiet import quiet
from bdm_torch.tensors import write_tensors


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


def write_text_encoder(encoder: Any, folder: Path) -> None:
    """Configuration and weights of a text encoder, in transformers' layout."""
    with quiet():
        encoder.save_pretrained(folder)
    _clean(folder / "config.json")


def write_network(network: Any, folder: Path) -> None:
    """Configuration and weights of a UNet or autoencoder, in diffusers' layout."""
    write_tensors(folder / f"{WEIGHTS['unet']}.safetensors", network.state_dict())
    write_json(folder / "config.json", configuration(network))


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
