"""LoRA weights and new token embeddings beside a pipeline, in the files that diffusers itself loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bdm_core.errors import ArtifactError
from bdm_core.files import counts
from bdm_torch.foreign_models import PICKLES, first_line, require_finite
from bdm_torch.tensors import read_tensors, write_tensors
from bdm_torch.weights import read_header

if TYPE_CHECKING:
    from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

LORA = "lora"
LORA_WEIGHTS = "pytorch_lora_weights.safetensors"
EMBEDDINGS = "embeddings"
LEARNED = "learned_embeds"
BESIDE = ("pytorch_lora_weights", "adapter_model", LEARNED)
"""How the files of LoRA and embeddings begin that lie in a pipeline's folder itself."""


def write_lora(folder: Path, lora: Mapping[str, Tensor]) -> None:
    """Write ``lora/pytorch_lora_weights.safetensors``, which ``pipeline.load_lora_weights(folder / "lora")`` reads."""
    write_tensors(folder / LORA / LORA_WEIGHTS, lora)


def write_embeddings(folder: Path, model: TextToImageModel, embeddings: Mapping[str, Tensor]) -> None:
    """Write one file a token and text encoder, which ``pipeline.load_textual_inversion`` reads.

    The first token's is ``embeddings/learned_embeds.safetensors``, the next one's ``learned_embeds-1.safetensors``; for
    SDXL's second encoder they are called ``learned_embeds_2``.

    Raises:
        ArtifactError: a token is in the vocabulary already, or a row has the wrong length.
    """
    widths = [encoder.get_input_embeddings().weight.shape[1] for encoder in model.text_encoders]
    for number, (token, row) in enumerate(embeddings.items()):
        if row.shape != (sum(widths),):
            raise ArtifactError(f"the embedding of {token!r} has shape {tuple(row.shape)}, expected ({sum(widths)},)")
        for encoder, (tokenizer, part) in enumerate(zip(model.tokenizers, row.split(widths), strict=True)):
            if token in tokenizer.get_vocab():
                raise ArtifactError(f"the token {token!r} is in the vocabulary already: choose another placeholder")
            write_tensors(folder / EMBEDDINGS / embedding_file(number, encoder), {token: part.float()})


def embedding_file(number: int, encoder: int) -> str:
    """The file name of a token's embedding for a text encoder, both counted from 0."""
    which = f"_{encoder + 1}" if encoder else ""
    return f"{LEARNED}{which}-{number}.safetensors" if number else f"{LEARNED}{which}.safetensors"


def apply(model: TextToImageModel, folder: Path) -> None:
    """Add what lies beside a pipeline to the opened model, in place.

    Raises:
        ArtifactError: a file is damaged, not finite, or does not fit the model in every tensor.
    """
    lora = folder / LORA / LORA_WEIGHTS
    _refuse_what_is_not_read(folder, len(model.text_encoders))
    try:
        if lora.is_file():
            _merge_lora(model, lora, _read(lora))
        for encoder in range(len(model.text_encoders)):
            number = 0
            while (path := folder / EMBEDDINGS / embedding_file(number, encoder)).is_file():
                _add_token(model, encoder, _read(path))
                number += 1
    except ArtifactError:
        raise
    except Exception as error:  # the libraries' own classes, and whatever odd tensors lead to
        raise ArtifactError(
            f"{folder} has a LoRA or embeddings that do not fit its pipeline: {first_line(error)}"
        ) from None


def _refuse_what_is_not_read(folder: Path, encoders: int) -> None:
    """Additions that would be left out without a word: a verdict without them is one on another model."""
    places = {folder / LORA: {LORA_WEIGHTS}, folder / EMBEDDINGS: set(_embedding_files(folder, encoders))}
    beside = [path for path in sorted(folder.iterdir()) if path.name.startswith(BESIDE)]
    inside = [path for place in places if place.is_dir() for path in sorted(place.iterdir())]
    for path in beside + inside:
        known = places.get(path.parent, set())
        if path.suffix not in (".safetensors", *PICKLES) or not counts(path.name) or path.name in known:
            continue
        if path.suffix == ".safetensors" or path.with_suffix(".safetensors").name not in known:
            kind = "weights that are not read" if path.suffix == ".safetensors" else "pickled weights"
            raise ArtifactError(
                f"{path.parent} has {kind} ({path.name}): a LoRA is read from {LORA}/{LORA_WEIGHTS}, embeddings from "
                f"{EMBEDDINGS}/{embedding_file(0, 0)}, then {embedding_file(1, 0)}; convert, rename or remove it"
            )


def _embedding_files(folder: Path, encoders: int) -> list[str]:
    """The names of the files of embeddings that are read: for each text encoder those numbered without a gap."""
    names: list[str] = []
    for encoder in range(encoders):
        number = 0
        while (folder / EMBEDDINGS / embedding_file(number, encoder)).is_file():
            names.append(embedding_file(number, encoder))
            number += 1
    return names


def _read(path: Path) -> dict[str, Tensor]:
    if not read_header(path):
        raise ArtifactError(f"{path} holds no tensors")
    tensors = read_tensors(path)
    require_finite(path, tensors)
    return tensors


def _merge_lora(model: TextToImageModel, path: Path, weights: dict[str, Tensor]) -> None:
    pipeline: Any = model.to_pipeline()
    given, _ = pipeline.lora_state_dict(dict(weights))
    pipeline.load_lora_weights(weights)
    parts = [name for network in model.networks.values() for name, _ in network.named_parameters()]
    found = sum(".lora_A." in name or ".lora_B." in name for name in parts)
    if found != len(given):
        raise ArtifactError(f"{path} has {len(given)} tensors, of which the pipeline takes {found}: it is for another")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()


def _add_token(model: TextToImageModel, encoder: int, row: dict[str, Tensor]) -> None:
    model.to_pipeline().load_textual_inversion(
        row, tokenizer=model.tokenizers[encoder], text_encoder=model.text_encoders[encoder]
    )
