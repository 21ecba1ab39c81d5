"""Look at a pipeline folder before anything of it is loaded: which parts, which classes, which weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bdm_core.errors import ArtifactError
from bdm_diffusers.pipeline_files import INDEX, PICKLES, SCHEDULERS, read_json

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
        variants: part -> ``fp16`` if only such weights are there, else None.
        facts: what else the index says that changes what the pipeline does, e.g. ``force_zeros_for_empty_prompt``.
    """

    pipeline: str
    classes: dict[str, str]
    variants: dict[str, str | None]
    facts: dict[str, Any]


def look_through(folder: Path) -> Layout:
    """Check a pipeline folder without loading any weights.

    Raises:
        ArtifactError: it is no pipeline folder of a known class, a part is missing or of a class that is not allowed,
            or its weights are not in safetensors.
    """
    index = read_json(folder / INDEX, f"{folder} is no diffusers pipeline folder")
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str) or pipeline not in PARTS:
        raise ArtifactError(f"{folder / INDEX} names the pipeline {pipeline!r}; supported are {', '.join(PARTS)}")
    classes = {part: _class_of(folder, index, part) for part in PARTS[pipeline]}
    variants = {part: _variant(folder / part, part, folder) for part in PARTS[pipeline] if part in WEIGHTS}
    facts = {
        key: value for key, value in index.items() if isinstance(value, bool) and key == "force_zeros_for_empty_prompt"
    }
    return Layout(pipeline, classes, variants, facts)


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
    if stated not in ALLOWED[part]:
        raise ArtifactError(f"{file} names the class {stated!r}: allowed are {_list(ALLOWED[part])}")
    return name


def _variant(place: Path, part: str, folder: Path) -> str | None:
    stem = WEIGHTS[part]
    for variant in (None, "fp16"):
        ending = f".{variant}.safetensors" if variant else ".safetensors"
        if (place / f"{stem}{ending}").is_file() or (place / f"{stem}.safetensors.index{ending[:-12]}.json").is_file():
            return variant
    pickles = sorted(path.name for path in place.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise ArtifactError(
            f"{place} has pickled weights ({pickles[0]}) and no {stem}.safetensors: "
            f"convert them with `bdm import {folder} --task text-to-image --out NEW`"
        )
    raise ArtifactError(f"{place} has no {stem}.safetensors")


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
