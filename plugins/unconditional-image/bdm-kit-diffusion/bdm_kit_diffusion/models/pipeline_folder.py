"""Model folders in diffusers' layout, looked at before anything is loaded. Light: no torch, no diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Model
from bdm_core.errors import ArtifactError
from bdm_core.files import existing
from bdm_diffusers.foreign_configuration import UNetKind, check_first_stage, check_scheduler, check_unet, sample_size
from bdm_diffusers.pipeline_files import INDEX, SCHEDULERS, read_json
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.catalogue import BUILTIN_MODELS, DEFAULT_MODEL
from bdm_torch.foreign_models import find_weights
from bdm_torch.references import fetch_snapshot, parse_hub_reference, suggest

UNET_CONFIG = "config.json"
SCHEDULER_CONFIG = "scheduler_config.json"
WEIGHTS_STEM = "diffusion_pytorch_model"
WEIGHTS = f"{WEIGHTS_STEM}.safetensors"
FIRST_STAGES = {"VQModel": 3, "AutoencoderKL": 4}
"""The classes of first stages, and the latent channels of a configuration that states none."""
PART = "vqvae"
"""The name of the first stage in diffusers' LDMPipeline."""
PIPELINES: dict[str, dict[str, frozenset[str]]] = {
    name: {"unet": frozenset({"UNet2DModel"}), "scheduler": SCHEDULERS}
    for name in ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline")
} | {
    "ScoreSdeVePipeline": {"unet": frozenset({"UNet2DModel"}), "scheduler": frozenset({"ScoreSdeVeScheduler"})},
    "LDMPipeline": {"unet": frozenset({"UNet2DModel"}), "scheduler": SCHEDULERS, PART: frozenset(FIRST_STAGES)},
}
"""The pipelines that can be opened: their parts, and the classes each part may have."""


@dataclass(frozen=True)
class Parts:
    """Where the parts of a pipeline folder are: sub-folders, or, in old repositories, the folder itself.

    Attributes:
        pipeline: name of the pipeline class.
        unet: folder of the network.
        scheduler: folder of the scheduler's configuration.
        scheduler_class: name of its class.
        first_stage: folder, class and configuration of a latent model's autoencoder; None for a model of pixels.
    """

    pipeline: str
    unet: Path
    scheduler: Path
    scheduler_class: str
    first_stage: tuple[Path, str, dict[str, Any]] | None = None


def find_model(reference: str | None, cache: Path) -> Path:
    """The folder that a reference stands for, checked as far as :func:`find_parts` does.

    Args:
        reference: None for ``digits-ddpm``, a built-in name, a local folder, or ``hf:org/name@commit``.
        cache: where a download may be kept meanwhile; only JSON and safetensors are fetched.

    Raises:
        ArtifactError: the reference is of no known kind, or its folder is no model.
    """
    name = reference or DEFAULT_MODEL
    if name in BUILTIN_MODELS:
        folder = BUILTIN / BUILTIN_MODELS[name]
    elif (hub := parse_hub_reference(name)) is not None:
        folder = fetch_snapshot(hub, cache, ["*.json", "*.safetensors"])
    else:
        found = existing(name)
        if found is None or not found.is_dir():
            raise ArtifactError(f"no model {name!r}: {suggest(name, list(BUILTIN_MODELS)[:-1])}")
        folder = found
    find_parts(folder)
    return folder


def is_pipeline(folder: Path) -> bool:
    """Whether a folder says that it is one of :data:`PIPELINES`, whatever else is wrong with it."""
    try:
        return read_json(folder / INDEX, str(folder)).get("_class_name") in PIPELINES
    except (ArtifactError, OSError, TypeError):
        return False


def find_parts(folder: Path) -> Parts:
    """Look at a pipeline folder without loading any weights.

    Raises:
        ArtifactError: it is no such folder, names a class that is not allowed, has a network or noise schedule of a
            kind that is not supported, or weights that are pickled, cut off or not fetched.
    """
    index = read_json(folder / INDEX, f"{folder} is no diffusers pipeline folder")
    pipeline = str(index.get("_class_name"))
    if pipeline not in PIPELINES:
        raise ArtifactError(f"{folder / INDEX} names the pipeline {pipeline!r}; supported are {', '.join(PIPELINES)}")
    found: dict[str, tuple[Path, str]] = {}
    configs: dict[str, dict[str, Any]] = {}
    for part in PIPELINES[pipeline]:
        file = SCHEDULER_CONFIG if part == "scheduler" else UNET_CONFIG
        entry = index.get(part)
        name = entry[1] if isinstance(entry, list) and len(entry) == 2 and entry[0] == "diffusers" else None
        if not isinstance(name, str) or name not in PIPELINES[pipeline][part]:
            raise ArtifactError(f"{folder / INDEX} names {entry!r} as {part}: not an allowed diffusers class")
        place = folder / part if (folder / part).is_dir() else folder
        configs[part] = read_json(place / file, f"{folder} has no {part}")
        stated = configs[part].get("_class_name", name)
        if not isinstance(stated, str) or stated not in PIPELINES[pipeline][part]:
            raise ArtifactError(f"{place / file} names the class {stated!r}: not an allowed diffusers class")
        found[part] = place, name
    unet = found["unet"][0]
    check_scheduler(found["scheduler"][0] / SCHEDULER_CONFIG, configs["scheduler"])
    latents = None
    if PART in found:
        check_first_stage(found[PART][0] / UNET_CONFIG, configs[PART])
        find_weights(found[PART][0], WEIGHTS_STEM)
        latents = configs[PART].get("latent_channels", FIRST_STAGES[configs[PART].get("_class_name", found[PART][1])])
    tensors = len(find_weights(unet, WEIGHTS_STEM).tensors)
    check_unet(unet / UNET_CONFIG, configs["unet"], UNetKind(latents), tensors)
    first_stage = (*found[PART], configs[PART]) if PART in found else None
    return Parts(pipeline, found["unet"][0], *found["scheduler"], first_stage)


def shape_of(model: Model) -> tuple[int, int, int]:
    """(C, H, W) of the noise that a sealed model takes, without opening it: that of an image, or of latents."""
    shape: Any = model.meta.get("shape")
    if isinstance(shape, list) and len(shape) == 3:
        return shape[0], shape[1], shape[2]
    file = find_parts(model.path).unet / UNET_CONFIG
    config = read_json(file, f"{model.path} has no unet")
    return config["in_channels"], *sample_size(file, config)


def image_shape_of(model: Model) -> tuple[int, int, int]:
    """(C, H, W) of the images of a sealed model, without opening it."""
    shape: Any = model.meta.get("image_shape")
    return shape_of(model) if shape is None else (shape[0], shape[1], shape[2])
