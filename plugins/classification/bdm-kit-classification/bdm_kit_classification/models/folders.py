"""Folders of classifiers of any task, looked at before anything is loaded. Light: no torch, no transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bdm_core.errors import ArtifactError
from bdm_core.files import existing, read_json
from bdm_kit_classification.built_in import BUILTIN
from bdm_kit_classification.catalogue import IMAGE_TASK
from bdm_kit_classification.tasks.base import Task
from bdm_kit_classification.tasks.registry import TASKS
from bdm_torch.foreign_models import find_weights
from bdm_torch.references import fetch_snapshot, parse_hub_reference, suggest

CONFIG, STEM = "config.json", "model"
ARCHITECTURE = "bdm_architecture"
"""The key of ``config.json`` by which one of the kit's own networks is known."""
LARGEST_CONFIG = 2**24
OTHER_PROBLEMS = ("multi_label_classification", "regression")
"""What transformers' ``problem_type`` says of networks that choose no class."""
TIMM = "timm:"
"""Before the name of an architecture of timm."""


def find_model(reference: str | None, cache: Path) -> tuple[Task, Path]:
    """The folder that a reference stands for and its task; its configuration and its weights' headers are checked.

    Args:
        reference: None for the first built-in model, a built-in name, a local folder, or ``hf:org/name@commit``.
        cache: where a download may be kept meanwhile; only JSON, text and safetensors are fetched.

    Raises:
        ArtifactError: the reference is of no known kind, or its folder is no classifier.
    """
    name = reference or next(iter(TASKS.values())).models[0].name
    built_in = {name: folder for task in TASKS.values() for name, folder in task.folders.items()}
    if name in built_in:
        folder = BUILTIN / built_in[name]
    elif (hub := parse_hub_reference(name)) is not None:
        folder = fetch_snapshot(hub, cache, ["*.json", "*.txt", "*.safetensors"])
    else:
        found = existing(name)
        if name.startswith(TIMM) and found is None:
            raise ArtifactError(
                f"{name} is an architecture without weights: train a clean model first, by python -m "
                f"bdm_kit_classification.recipes.clean_model --network {name} --data DATA --out FOLDER"
            )
        if found is None or not found.is_dir():
            known = [model.name for task in TASKS.values() for model in task.models]
            raise ArtifactError(f"no model {name!r}: {suggest(name, known)}")
        folder = found
    task, config = read_config(folder)
    if str(config.get("problem_type")) in OTHER_PROBLEMS:
        raise ArtifactError(
            f"{folder / CONFIG}: problem_type {config['problem_type']}: its outputs are no choice of one class; choose "
            "a classifier of one label a sample"
        )
    find_weights(folder, STEM)
    return task, folder


def read_config(folder: Path) -> tuple[Task, dict[str, Any]]:
    """Task and ``config.json`` of a classifier.

    Raises:
        ArtifactError: there is none, or it is of another kind of model.
    """
    path = folder / CONFIG
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError
        config = read_json(path)
    except (OSError, ValueError, RecursionError):
        raise ArtifactError(f"{folder} is no classifier: it has no {CONFIG} that can be read") from None
    config = config if isinstance(config, dict) else {}
    if ARCHITECTURE in config:
        for task in TASKS.values():
            if str(config[ARCHITECTURE]) in task.architectures:
                return task, config
        raise ArtifactError(f"{path}: {ARCHITECTURE} {config[ARCHITECTURE]!r:.40} is none of the kit's networks")
    if is_timm(config):
        return TASKS[IMAGE_TASK], config
    named = config.get("architectures")
    for task in TASKS.values():
        if isinstance(named, list) and any(task.takes(str(name)) for name in named):
            return task, config
    endings = " or ".join(task.ending for task in TASKS.values())
    raise ArtifactError(
        f"{path} is of no classifier: its architectures are {named or 'not named'}, expected one that ends in {endings}"
    )


def is_timm(config: dict[str, Any]) -> bool:
    """Whether a configuration is one that timm writes."""
    return isinstance(config.get("architecture"), str) and "pretrained_cfg" in config


def task_of_folder(folder: Path) -> str | None:
    """The tag of the task of a model folder; None if it is no classifier's."""
    try:
        return read_config(folder)[0].tag
    except ArtifactError:
        return None
