"""Look at a pipeline folder before anything of it is loaded: which parts, which classes, which weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bdm_core.errors import ArtifactError
from bdm_diffusers.foreign_configuration import UNetKind, check_first_stage, check_scheduler, check_unet, whole_number
from bdm_diffusers.pipeline_files import INDEX, SCHEDULERS, read_json
from bdm_torch.foreign_models import find_weights

TOKENIZERS = frozenset({"CLIPTokenizer", "CLIPTokenizerFast"})
ALLOWED: dict[str, frozenset[str]] = {
    "tokenizer": TOKENIZERS,
    "tokenizer_2": TOKENIZERS,
    "text_encoder": frozenset({"CLIPTextModel"}),
    "text_encoder_2": frozenset({"CLIPTextModelWithProjection"}),
    "unet": frozenset({"UNet2DConditionModel"}),
    "vae": frozenset({"AutoencoderKL"}),
    "scheduler": SCHEDULERS,
}
"""The classes that a part may have; nothing else is built."""
PARTS = {
    "StableDiffusionPipeline": ("tokenizer", "text_encoder", "unet", "vae", "scheduler"),
    "StableDiffusionXLPipeline": (
        "tokenizer",
        "tokenizer_2",
        "text_encoder",
        "text_encoder_2",
        "unet",
        "vae",
        "scheduler",
    ),
}
"""The pipelines that can be opened and their parts. A safety checker and the like are left behind."""
CONFIGURATIONS = {"scheduler": "scheduler_config.json"}
WEIGHTS = {"text_encoder": "model", "text_encoder_2": "model", "unet": "diffusion_pytorch_model"}
WEIGHTS["vae"] = WEIGHTS["unet"]
"""The stem of a part's weight files."""
TOKENIZER_FILES = ("tokenizer.json", "vocab.json")


@dataclass(frozen=True)
class Layout:
    """A pipeline folder that was looked through.

    Attributes:
        pipeline: the class that its index names.
        classes: part -> class name.
        facts: what else the index says that changes what the pipeline does, e.g. ``force_zeros_for_empty_prompt``.
    """

    pipeline: str
    classes: dict[str, str]
    facts: dict[str, Any]


def look_through(folder: Path) -> Layout:
    """Check a pipeline folder without loading any weights.

    Raises:
        ArtifactError: it is no pipeline folder of a known class, a part is missing or of a class that is not allowed,
            its weights are not in safetensors, cut off or not fetched, or its UNet or noise schedule is of a kind that
            is not supported.
    """
    pipeline, classes = pipeline_of(folder), classes_in(folder)
    index = _index_of(folder)
    counts = {
        part: len(find_weights(folder / part, WEIGHTS[part]).tensors) for part in PARTS[pipeline] if part in WEIGHTS
    }
    _check_kinds(folder, pipeline, counts["unet"])
    facts = {
        key: value for key, value in index.items() if isinstance(value, bool) and key == "force_zeros_for_empty_prompt"
    }
    return Layout(pipeline, classes, facts)


def pipeline_of(folder: Path) -> str:
    """The pipeline that the index of a folder names. Raises ArtifactError if it is none that can be opened."""
    pipeline = _index_of(folder).get("_class_name")
    if not isinstance(pipeline, str) or pipeline not in PARTS:
        raise ArtifactError(f"{folder / INDEX} names the pipeline {pipeline!r}; supported are {', '.join(PARTS)}")
    return pipeline


def classes_in(folder: Path) -> dict[str, str]:
    """Part -> class. Raises ArtifactError if a part is missing or of a class that is not allowed."""
    index = _index_of(folder)
    return {part: _class_of(folder, index, part) for part in PARTS[pipeline_of(folder)]}


def _index_of(folder: Path) -> dict[str, Any]:
    return read_json(folder / INDEX, f"{folder} is no diffusers pipeline folder")


def is_pipeline(folder: Path) -> bool:
    """Whether the index of a folder names one of the pipelines that can be opened; nothing else is checked."""
    try:
        return read_json(folder / INDEX, "").get("_class_name") in PARTS
    except (ArtifactError, OSError, TypeError):
        return False


def _class_of(folder: Path, index: dict[str, Any], part: str) -> str:
    entry = index.get(part)
    if entry is None or entry == [None, None]:
        raise ArtifactError(f"{folder / INDEX} names no {part}: the pipeline is incomplete")
    library = "transformers" if part.startswith(("tokenizer", "text_encoder")) else "diffusers"
    name = entry[1] if isinstance(entry, list) and len(entry) == 2 and entry[0] == library else None
    if not isinstance(name, str) or name not in ALLOWED[part]:
        raise ArtifactError(f"{folder / INDEX} names {entry!r} as {part}: allowed are {_list(ALLOWED[part])}")
    place = folder / part
    if not place.is_dir():
        raise ArtifactError(f"{folder} has no folder {part}: the pipeline is incomplete")
    if part.startswith("tokenizer"):
        if not any((place / file).is_file() for file in TOKENIZER_FILES):
            raise ArtifactError(f"{place} has no {' and no '.join(TOKENIZER_FILES)}")
        return name
    file = place / CONFIGURATIONS.get(part, "config.json")
    configuration = read_json(file, f"{folder} has no {part}")
    key = "_class_name" if library == "diffusers" else "architectures"
    stated = configuration.get(key, name)
    stated = stated[0] if isinstance(stated, list) and stated else stated
    if not isinstance(stated, str) or stated not in ALLOWED[part]:
        raise ArtifactError(f"{file} names the class {stated!r}: allowed are {_list(ALLOWED[part])}")
    return name


def _check_kinds(folder: Path, pipeline: str, tensors: int) -> None:
    """Refuse inpainting, upscaling and other UNets with further inputs, and unknown noise schedules."""
    files = {part: folder / part / CONFIGURATIONS.get(part, "config.json") for part in ("unet", "vae", "scheduler")}
    unet, vae, scheduler = (read_json(file, f"{folder} has no {part}") for part, file in files.items())
    check_first_stage(files["vae"], vae)
    addition = "text_time" if pipeline == "StableDiffusionXLPipeline" else None
    kind = UNetKind(
        whole_number(files["vae"], "latent_channels", vae.get("latent_channels", 4)),
        halves=False,
        addition=addition,
        default=4,
    )
    check_unet(files["unet"], unet, kind, tensors)
    check_scheduler(files["scheduler"], scheduler)


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
