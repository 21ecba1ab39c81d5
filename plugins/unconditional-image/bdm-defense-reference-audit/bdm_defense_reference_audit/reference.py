"""The model to compare with: the one that was named, or the built-in one that fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.catalogue import BUILTIN_MODELS
from bdm_kit_diffusion.models.coverage import CANNOT_TELL
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, open_reference
from bdm_kit_diffusion.models.pipeline_folder import find_model
from bdm_kit_diffusion.noise.noise_levels import noise_path
from bdm_torch.references import parse_hub_reference

RELATED = 0.7
"""Cosine between the weights from which on a reference is taken for the parent."""
UNLIKE = ("_name_or_path", "_diffusers_version", "_use_default_values", "_class_name", "dropout")
"""Entries of a network's configuration that say nothing about what it computes."""


def load_reference(work: Path, device: str, reference: str, suspect: DiffusionModel) -> tuple[DiffusionModel, str]:
    """The reference on ``device``, and how it is called.

    Args:
        work: a folder for files on the way.
        device: of both models.
        reference: a built-in name, a folder, ``hf:org/name@commit``, or "" for the built-in model that fits.
        suspect: what it is to be compared with.

    Raises:
        UserError: none is named and no built-in model fits; or the one named is of another shape or noise schedule.
        ArtifactError: the one named cannot be opened.
    """
    if reference:
        model = load_model(open_reference(reference, work / "reference", work / "cache"), device)
        if not comparable(suspect, model):
            raise UserError(
                f"reference-audit cannot compare: the reference {reference!r} has images of shape {model.shape} and "
                f"{model.timesteps} timesteps, the model {suspect.shape} and {suspect.timesteps}, or another noise "
                "schedule; name the model that this one was made from"
            )
        return model, reference
    for name, folder in BUILTIN_MODELS.items():
        model = load_model(BUILTIN / folder, "cpu")
        if comparable(suspect, model) and architecture(suspect) == architecture(model):
            model.unet.to(device)
            return model, name
    raise UserError(
        "reference-audit needs the public model that this one was made from, and no built-in model fits: give "
        "--set defense:reference-audit.reference=MODEL (a folder or hf:org/name@commit)"
    )


def require_reference(reference: str, model: Model) -> None:
    """Refuse what cannot be the reference, before anything is trained; of the Hub nothing is fetched.

    Args:
        reference: see :func:`load_reference`. A folder's configuration and headers are looked at.
        model: of the suspect's architecture, sealed. It is opened where no reference is named.

    Raises:
        UserError: none is named and no built-in model fits.
        ArtifactError: the one named is no model.
    """
    if not reference:
        load_reference(Path(), "cpu", "", load_model(model, "cpu"))
    elif parse_hub_reference(reference) is None:
        find_model(reference, Path())


def comparable(one: DiffusionModel, other: DiffusionModel) -> bool:
    """Whether two models take the same inputs at the same timesteps."""
    if one.shape != other.shape or one.timesteps != other.timesteps:
        return False
    if one.variance_exploding != other.variance_exploding:
        return False
    mine, theirs = noise_path(one.scheduler), noise_path(other.scheduler)
    return bool((mine.a - theirs.a).abs().max() < 1e-4 and (mine.s / theirs.s - 1).abs().max() < 1e-3)


def architecture(model: DiffusionModel) -> dict[str, Any]:
    """What the network's configuration says about it, without the entries that are about the file."""
    config: Any = model.unet.config
    return {key: _plain(value) for key, value in dict(config).items() if key not in UNLIKE}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def kinship(one: DiffusionModel, other: DiffusionModel) -> float | None:
    """Cosine of the angle between the weights of two networks; None if their tensors do not match.

    Only matrices and kernels count: gains of normalisations are near 1 in every network. A model keeps above .8 of its
    parent's through fine-tunings and backdoor attacks; networks that were trained from other first weights have about
    0, from the same ones .6.
    """
    mine, theirs = one.unet.state_dict(), other.unet.state_dict()
    if {key: value.shape for key, value in mine.items()} != {key: value.shape for key, value in theirs.items()}:
        return None
    product = mine_size = their_size = 0.0
    for key, value in theirs.items():
        if value.ndim > 1:
            left, right = mine[key].double(), value.double()
            product += float((left * right).sum())
            mine_size += float(left.square().sum())
            their_size += float(right.square().sum())
    scale = (mine_size * their_size) ** 0.5
    return product / scale if scale else 0.0


def no_parent(suspect: DiffusionModel, reference: DiffusionModel, name: str) -> str:
    """Why ``reference`` cannot be what ``suspect`` was made from; "" if it can."""
    found = kinship(suspect, reference)
    if found is not None and found >= RELATED:
        return ""
    seen = "they are of another architecture" if found is None else f"the cosine between their weights is {found:.2f}"
    return (
        f"{CANNOT_TELL}: {name} is not what this model was made from ({seen}; children have more than {RELATED:g}): "
        "name its parent, --set defense:reference-audit.reference=MODEL"
    )


def weight_distance(one: DiffusionModel, other: DiffusionModel) -> float | None:
    """Norm of the difference of the weights over the norm of the reference's; None if their tensors do not match."""
    mine, theirs = one.unet.state_dict(), other.unet.state_dict()
    if {key: value.shape for key, value in mine.items()} != {key: value.shape for key, value in theirs.items()}:
        return None
    gap = sum(float((mine[key].double() - value.double()).square().sum()) for key, value in theirs.items())
    size = sum(float(value.double().square().sum()) for value in theirs.values())
    return (gap / size) ** 0.5 if size else None
