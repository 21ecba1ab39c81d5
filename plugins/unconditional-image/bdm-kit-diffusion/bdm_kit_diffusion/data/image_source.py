"""What a reference to training images stands for, found before anything is read. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_core.files import MANIFEST, existing
from bdm_kit_diffusion.catalogue import BUILTIN_DATA, DEFAULT_DATA, SHAPES_DATA
from bdm_kit_diffusion.models.pipeline_folder import image_shape_of
from bdm_torch.references import HubReference, parse_hub_reference, suggest


@dataclass(frozen=True)
class ImageSource:
    """Where training images come from; one of the first three is given.

    Attributes:
        built_in: the name of a built-in data set.
        hub: a data set of the Hub.
        folder: a local folder of images, of parquet files, or a sealed image set.
        sealed: whether the folder is sealed.
    """

    built_in: str | None = None
    hub: HubReference | None = None
    folder: Path | None = None
    sealed: bool = False


def find_images(reference: str | None, model: Model) -> ImageSource:
    """What a reference stands for.

    Args:
        reference: as for :func:`bdm_kit_diffusion.data.opening.open_reference`.
        model: whose shape decides the default data set.

    Raises:
        UserError: no such data, or a built-in set for a model of another shape.
    """
    shape = image_shape_of(model)
    name = reference or (SHAPES_DATA if shape == BUILTIN_DATA[SHAPES_DATA] else DEFAULT_DATA)
    if name in BUILTIN_DATA:
        if shape != BUILTIN_DATA[name]:
            size = "x".join(map(str, BUILTIN_DATA[name]))
            raise UserError(
                f"the model makes images of shape {list(shape)}, the built-in {name} are {size}: name data with --data"
            )
        return ImageSource(built_in=name)
    hub = parse_hub_reference(name)
    if hub is not None:
        return ImageSource(hub=hub)
    folder = existing(name)
    if folder is None:
        raise UserError(f"no data {name!r}: {suggest(name, [DEFAULT_DATA, SHAPES_DATA])}")
    return ImageSource(folder=folder, sealed=(folder / MANIFEST).is_file())
