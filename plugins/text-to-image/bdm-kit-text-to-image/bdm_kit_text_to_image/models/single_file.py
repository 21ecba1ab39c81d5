"""Single-file checkpoints of Stable Diffusion, in the names of the original code, as pipeline folders."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import diffusers
import torch

from bdm_core.errors import ArtifactError
from bdm_diffusers.pipeline_files import INDEX, read_json
from bdm_kit_text_to_image.models.folders import PARTS, classes_in, pipeline_of
from bdm_kit_text_to_image.models.quiet import quiet
from bdm_kit_text_to_image.models.writing import write_json
from bdm_torch.foreign_models import first_line
from bdm_torch.weights import read_header

UNET = "model.diffusion_model."
FAMILIES = {
    "UNet": (UNET,),
    "first stage": ("first_stage_model.",),
    "text encoder": ("cond_stage_model.", "conditioner.embedders."),
}
"""The parts of a whole checkpoint, and how the names of their tensors begin."""
CONFIGURATIONS = (".json", ".txt")


def convert_single_file(weights: Path, config: Path, folder: Path) -> bool:
    """Write a single-file checkpoint as a pipeline folder, by diffusers' own loader.

    Args:
        weights: a safetensors file.
        config: a pipeline folder of the same kind of model; only its configurations and tokenizer are read.
        folder: where to.

    Returns:
        Whether the file is such a checkpoint.

    Raises:
        ArtifactError: a part is missing, the configurations are of no supported pipeline, or the two do not fit.
    """
    names = list(read_header(weights))
    if not any(name.startswith(UNET) for name in names):
        return False
    for part, starts in FAMILIES.items():
        if not any(name.startswith(starts) for name in names):
            raise ArtifactError(f"{weights} has no {part} (no tensor named {starts[0]}...): it is no whole checkpoint")
    pipeline, classes = pipeline_of(config), classes_in(config)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        place = Path(temporary)
        _copy_configurations(config, place, pipeline, classes)
        try:
            with quiet():
                made = getattr(diffusers, pipeline).from_single_file(
                    str(weights), config=str(place), local_files_only=True, torch_dtype=torch.float32
                )
        except Exception as error:  # the loader's own classes, and whatever does not fit leads to
            reason = "tensors that they ask for are missing" if "meta tensor" in str(error) else first_line(error)
            raise ArtifactError(
                f"{weights} cannot be opened as a {pipeline} with the configurations in {config}: {reason}"
            ) from None
        for part in PARTS[pipeline]:
            _require_whole(weights, config, part, getattr(made, part))
        with quiet():
            made.save_pretrained(folder)
    return True


def _copy_configurations(config: Path, folder: Path, pipeline: str, classes: dict[str, str]) -> None:
    """The parts' JSON and text files, without weights, under an index that names nothing but the allowed classes."""
    index: dict[str, Any] = {"_class_name": pipeline}
    stated = read_json(config / INDEX, f"{config} is no diffusers pipeline folder")
    if isinstance(stated.get("force_zeros_for_empty_prompt"), bool):
        index["force_zeros_for_empty_prompt"] = stated["force_zeros_for_empty_prompt"]
    for part, name in classes.items():
        library = "transformers" if part.startswith(("tokenizer", "text_encoder")) else "diffusers"
        index[part] = [library, name]
        (folder / part).mkdir()
        for path in (config / part).iterdir():
            if path.suffix in CONFIGURATIONS and path.is_file():
                shutil.copyfile(path, folder / part / path.name)
    if pipeline == "StableDiffusionPipeline":
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    write_json(folder / INDEX, index)


def _require_whole(weights: Path, config: Path, part: str, network: Any) -> None:
    """Refuse a network that lacks tensors: the loader leaves them without values."""
    tensors = network.state_dict() if isinstance(network, torch.nn.Module) else {}
    lacking = sorted(name for name, value in tensors.items() if value.is_meta)
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise ArtifactError(
            f"{weights} has no weights for {part}: {lacking[0]}{more}, as {config / part} asks for: "
            "they do not fit each other"
        )
