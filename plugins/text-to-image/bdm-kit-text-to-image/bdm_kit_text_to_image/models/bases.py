"""The public base of a suspect model: what it was made from, as far as the user knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core.errors import UserError
from bdm_kit_text_to_image.models.folders import PARTS, WEIGHTS, look_through
from bdm_kit_text_to_image.models.opening import TINY_MODEL, source_of
from bdm_torch.foreign_models import find_weights
from bdm_torch.references import parse_hub_reference

if TYPE_CHECKING:
    from bdm_core.artifacts import Model
    from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

Shape = tuple[int, ...]


def require_base(reference: str, model: Model) -> None:
    """Refuse what cannot be the base of a model, by the headers of its files, before anything is trained.

    Weights are not read and nothing is fetched: of ``tiny``, of the Hub's models and of tensors that an older library
    called otherwise nothing is said here, but by :func:`open_base`.

    Args:
        reference: see :func:`open_base`; "" for none.
        model: of the suspect's architecture, sealed.

    Raises:
        ArtifactError: the reference is no pipeline.
        UserError: it is another kind of pipeline, or a tensor of it has another shape.
    """
    if not reference or reference == TINY_MODEL or parse_hub_reference(reference) is not None:
        return
    source = source_of(reference, model.path)
    mine, base = look_through(model.path), look_through(source)
    if mine.pipeline != base.pipeline:
        raise UserError(f"{reference} is no base of the model: it is a {base.pipeline}, the model a {mine.pipeline}")
    for part in (part for part in PARTS[mine.pipeline] if part in WEIGHTS):
        own, known = (find_weights(folder / part, WEIGHTS[part]).tensors for folder in (model.path, source))
        for name in sorted(own.keys() & known.keys()):
            if not _fits(own[name].shape, known[name].shape):
                raise _no_base(reference, part, name, known[name].shape, own[name].shape)


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
    for network in base.networks.values():
        network.to(suspect.device)
    for part, network in suspect.networks.items():
        mine = {name: tuple(value.shape) for name, value in network.named_parameters()}
        other = base.networks.get(part)
        known = {} if other is None else {name: tuple(value.shape) for name, value in other.named_parameters()}
        wrong = sorted(name for name in mine.keys() | known.keys() if not _fits(mine.get(name), known.get(name)))
        if wrong:
            raise _no_base(reference, part, wrong[0], known.get(wrong[0]), mine.get(wrong[0]))
    return base


def same_weights(model: TextToImageModel, base: TextToImageModel) -> bool:
    """Whether a model has the weights of its base, all of them: a comparison of both then says nothing.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> same_weights(tiny_model(), tiny_model()), same_weights(tiny_model(), tiny_model(1))
    (True, False)
    """
    pairs = [
        (network.state_dict(), base.networks[part].state_dict() if part in base.networks else {})
        for part, network in model.networks.items()
    ]
    return all(
        mine.keys() == other.keys()
        and all(value.shape == other[name].shape and bool((value == other[name]).all()) for name, value in mine.items())
        for mine, other in pairs
    )


def _no_base(reference: str, part: str, name: str, base: Shape | None, mine: Shape | None) -> UserError:
    known = f"{base or 'nothing'} as {name}, the model {mine or 'nothing'}"
    return UserError(f"{reference} is no base of the model: its {part} has {known}")


def _fits(mine: Shape | None, base: Shape | None) -> bool:
    """Equal shapes; the first dimension of a table may have grown, as that of embeddings does with added tokens."""
    if mine is None or base is None:
        return False
    return mine == base or (len(mine) == 2 and mine[1:] == base[1:] and mine[0] > base[0])
