"""Bring a pipeline into a folder: the built-in one, a folder, or a repository of the Hub.

This module is light: what is no pipeline is refused before torch and diffusers are imported.
"""

from __future__ import annotations

from pathlib import Path

from bdm_core.artifacts import Model
from bdm_core.errors import ArtifactError
from bdm_core.files import existing
from bdm_diffusers.pipeline_files import INDEX
from bdm_kit_text_to_image.built_in import BUILTIN
from bdm_kit_text_to_image.models.folders import look_through
from bdm_torch.references import fetch_snapshot, parse_hub_reference, suggest

DEFAULT_MODEL, TINY_MODEL = "small-world", "tiny"
HUB_PATTERNS = [
    INDEX,
    "*/*.json",
    "*/*.txt",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder*/model.safetensors",
    "*/*-of-*.safetensors",
]


def open_reference(reference: str | None, folder: Path, cache: Path) -> Model:
    """Bring a model into ``folder``, sealed.

    Args:
        reference: None for ``small-world``, a built-in name, a local folder, or ``hf:org/name@commit``.
        folder: where to; only configuration, merges and safetensors are written there, in one standard layout.
        cache: where a download may be kept meanwhile.

    Raises:
        ArtifactError: see :func:`bdm_kit_text_to_image.models.text_to_image_model.load_model`; or the reference is of
            no known kind.
    """
    name = reference or DEFAULT_MODEL
    source = None if name == TINY_MODEL else source_of(name, cache)
    if source is not None:
        look_through(source)
    from bdm_kit_text_to_image.models.fitting import try_out
    from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
    from bdm_kit_text_to_image.models.tiny import tiny_model

    model = tiny_model() if source is None else load_model(source)
    if source is not None and not source.is_relative_to(BUILTIN):
        try_out(model, source)
    return seal_model(model, folder)


def source_of(name: str, cache: Path) -> Path:
    """The folder of a built-in name, of a local path, or of a Hub reference, which is fetched into ``cache``.

    Raises:
        ArtifactError: there is no such model.
    """
    if name == DEFAULT_MODEL:
        return BUILTIN / DEFAULT_MODEL
    if (hub := parse_hub_reference(name)) is not None:
        return fetch_snapshot(hub, cache, HUB_PATTERNS)
    source = existing(name)
    if source is None or not source.is_dir():
        raise ArtifactError(f"no model {name!r}: {suggest(name, [DEFAULT_MODEL, TINY_MODEL])}")
    return source
