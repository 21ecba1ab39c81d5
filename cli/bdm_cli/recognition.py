"""The task of a model that is to be scanned; and what a file or folder is that no kit knows as a model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from bdm_cli.weights_kind import SINGLE_FILE, kind_of_weights
from bdm_core.discovery.candidates import find, named
from bdm_core.discovery.tasks import kits, kits_by_task, tasks_of_model
from bdm_core.errors import UserError, nearest
from bdm_core.files import MANIFEST, existing, read_json

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp"})
TEXTS = frozenset({".txt", ".md", ".csv", ".json", ".jsonl", ".yaml", ".yml"})
SOUNDS = frozenset({".wav", ".flac", ".mp3", ".ogg"})
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MOST_FILES = 1000
"""So many entries of a folder are looked at."""


def task_to_scan(reference: str, detectors: list[tuple[str, str]], *, kit: str | None = None) -> str:
    """The task of a model that is to be scanned, from its folder or built-in name.

    Args:
        reference: built-in name, folder, or ``hf:org/name@commit``, of which nothing is known before the download.
        detectors: (kind, name) of the defenses that were named.
        kit: the kit that was asked for, as for :func:`choose_kit`.

    Raises:
        UserError: the reference is no model that an installed kit knows, and is named as what it is; or kits know it
            for several tasks.
    """
    served = set(kits_by_task()) if kit is None else set(find("kit", kit).tasks)
    found = [task for task in tasks_of_model(reference) if task in served]
    if len(found) == 1:
        return found[0]
    choices = " or ".join(f"--task {task}" for task in found or sorted(served)) or "(no kit is installed)"
    if found:
        raise UserError(f"{reference} may be a model of several tasks: name one, {choices}")
    if reference.startswith("hf:"):
        shared = served.intersection(*({tag for item in named(*one) for tag in item.tasks} for one in detectors))
        if len(shared) == 1:
            return shared.pop()
        commit = "" if "@" in reference else f"; name its commit too, {reference}@COMMIT with the 40 digits"
        raise UserError(f"what {reference} is shows only after the download: name its task, {choices}{commit}")
    path = existing(reference)
    if path is not None:
        raise UserError(f"{reference} is {what_is(path)}; if it is a model all the same, name its task, {choices}")
    names = [model.name for one in kits() for model in one.models()]
    hint = nearest(reference, names, "give a folder, hf:org/name@commit, or a built-in name")
    raise UserError(f"no model {reference!r}: {hint} (bdm models)")


def what_is(path: Path) -> str:
    """A file or folder in a few words, with what to do, e.g. ``an image, not a model``.

    Args:
        path: it exists.
    """
    if path.is_file():
        return _file(path)
    manifest, adapter, config = (_read(path / name) for name in (MANIFEST, "adapter_config.json", "config.json"))
    if manifest.get("schema_version") == 1 and manifest.get("kind"):
        kind = str(manifest["kind"])
        if kind != "model":
            return f"a sealed artifact of bdm with {kind}, not with a model"
        return f"a model sealed by bdm for the task {manifest.get('task')}: install a kit that serves it"
    if adapter or list(path.glob("adapter_model.*")) or list(path.glob("pytorch_lora_weights.*")):
        base = adapter.get("base_model_name_or_path")
        of = f" of {base}" if isinstance(base, str) and base else ""
        return f"an adapter (LoRA){of}, not a whole model: merge it into its base and give the result"
    names = config.get("architectures")
    first = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else config.get("model_type")
    if "classifi" in str(first).lower():
        return f"a classifier ({first}), which no installed kit serves"
    if first:
        return f"a model of another kind ({first}), which no installed kit serves"
    if (pipeline := _read(path / "model_index.json").get("_class_name")) is not None:
        return f"a diffusers folder ({pipeline}), which no installed kit serves"
    return _folder(path)


def _file(path: Path) -> str:
    name, suffix = path.name.lower(), path.suffix.lower()
    if suffix == ".safetensors":
        return "a single file of weights, without their architecture: convert it by bdm import FILE --like FOLDER"
    if suffix in PICKLES or name.endswith(ARCHIVES):
        return f"a single {'checkpoint' if suffix in PICKLES else 'archive'}: convert it by bdm import"
    kinds = ((IMAGES, "an image"), (SOUNDS, "a sound"), (TEXTS, "a text file"))
    return f"{next((words for suffixes, words in kinds if suffix in suffixes), 'a file')}, not a model"


def _folder(path: Path) -> str:
    entries = [entry for entry, _ in zip(path.iterdir(), range(MOST_FILES), strict=False)]
    if not entries:
        return "an empty folder"
    suffixes = Counter(entry.suffix.lower() for entry in entries if not entry.name.startswith("."))
    for kinds, words in ((IMAGES, "images"), (SOUNDS, "sounds"), (PICKLES, "pickled checkpoints")):
        if sum(suffixes[suffix] for suffix in kinds) * 2 > sum(suffixes.values()):
            return f"a folder of {words}, not a model"
    if suffixes[".safetensors"]:
        if (kind := _kind_of_folder(path)) is not None:
            return kind
        return "a folder of weights without a configuration (config.json or model_index.json)"
    return "a folder that no installed kit knows as a model"


def _kind_of_folder(path: Path) -> str | None:
    """What the weights in a folder are, if they are no network; by the headers of the files."""
    from bdm_cli.checkpoint import shapes_of

    names = set()
    for file in sorted(path.glob("*.safetensors")):
        try:
            names |= set(shapes_of(file)) if file.is_file() else set()
        except UserError:
            return None
    kind = kind_of_weights(names)
    return "a single-file checkpoint: convert it by bdm import FILE --config FOLDER" if kind == SINGLE_FILE else kind


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
