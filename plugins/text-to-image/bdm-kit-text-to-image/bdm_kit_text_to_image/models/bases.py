"""The public base of a suspect model: what it was made from, as far as the user knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core.errors import UserError
from bdm_kit_text_to_image.models.opening import TINY_MODEL, source_of

if TYPE_CHECKING:
    from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel


def open_base(reference: str, suspect: TextToImageModel, cache: Path) -> TextToImageModel:
    """Open the base of a model, on its device.

    Args:
        reference: ``small-world``, ``tiny`` (for tests), a folder, or ``hf:org/name@commit``.
        suspect: what is said to be made from it.
        cache: where a download may be kept.

    Raises:
        ArtifactError: the reference is no pipeline.
        UserError: a part of it has other weights by name or shape, so that the suspect was not made from it.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> open_base("small-world", tiny_model(), Path("cache"))
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: small-world is no base of the model: its text_encoder has ...
    """
    from bdm_kit_text_to_image.models.text_to_image_model import load_model
    from bdm_kit_text_to_image.models.tiny import tiny_model

    base = tiny_model() if reference == TINY_MODEL else load_model(source_of(reference, cache), suspect.device)
    for part, network in suspect.networks.items():
        mine = {name: tuple(value.shape) for name, value in network.named_parameters()}
        other = base.networks.get(part)
        known = {} if other is None else {name: tuple(value.shape) for name, value in other.named_parameters()}
        wrong = sorted(name for name in mine.keys() | known.keys() if not _fits(mine.get(name), known.get(name)))
        if wrong:
            raise UserError(
                f"{reference} is no base of the model: its {part} has {known.get(wrong[0], 'nothing')} as {wrong[0]}, "
                f"the model {mine.get(wrong[0], 'nothing')}"
            )
    return base


def _fits(mine: tuple[int, ...] | None, base: tuple[int, ...] | None) -> bool:
    """Equal shapes; the first dimension of a table may have grown, as that of embeddings does with added tokens."""
    if mine is None or base is None:
        return False
    return mine == base or (len(mine) == 2 and mine[1:] == base[1:] and mine[0] > base[0])
