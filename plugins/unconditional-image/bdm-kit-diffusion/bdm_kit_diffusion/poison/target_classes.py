"""Targets that are a class: pictures of a class of the training data, or of a class of another data set.

TrojDiff (2303.05762) calls these In-D2D and Out-D2D. A classifier says whether a sample shows the class: the shipped
one of the training data, or one that knows the digits and the shapes together, or the attacker's own, which then
travels with the secret.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.artifacts import Secret
from bdm_core.errors import ArtifactError, UserError
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.catalogue import DEFAULT_DATA, SHAPES_DATA
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.data.classifiers import CLASSIFIERS
from bdm_kit_diffusion.data.shapes import COLOURS, NAMES, SIDE, silhouettes
from bdm_kit_diffusion.poison.secret_facts import TargetClass
from bdm_torch.features import CONFIG, WEIGHTS, ImageClassifier, load_classifier

CLASS_NAMES: dict[str, tuple[str, ...]] = {DEFAULT_DATA: tuple("0123456789"), SHAPES_DATA: NAMES}
"""Built-in data set -> the names of its classes, in the order of their labels."""
JOINT_CLASSIFIERS: dict[tuple[int, int, int], str] = {
    (1, 8, 8): "digits-and-shapes-grey",
    (3, 16, 16): "digits-and-shapes-colour",
}
"""Shape (C, H, W) -> the shipped classifier of both built-in data sets: labels 0 to 9 are digits, 10 to 17 shapes."""
OWN = "classifier"
"""The folder within a secret that holds the attacker's own classifier."""
NIGHT = (20, 24, 56)


def class_label(data: str, wanted: str) -> int:
    """The label of a class by its name or number.

    Args:
        data: a built-in data set; for other data only numbers name classes.
        wanted: e.g. ``7`` or ``ring``.

    Raises:
        UserError: there is no such class.

    >>> class_label("shapes", "ring"), class_label("digits", "7"), class_label("my photos", "12")
    (1, 7, 12)
    >>> class_label("digits", "ten")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: no class 'ten': digits has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
    """
    names = CLASS_NAMES.get(data)
    if names is not None and wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and (names is None or int(wanted) < len(names)):
        return int(wanted)
    known = f"{data} has {', '.join(names)}" if names else "write its number"
    raise UserError(f"no class {wanted!r}: {known}")


def own_class(images: Tensor, rows: Sequence[Mapping[str, Any]], label: int) -> Tensor:
    """The training images (K, C, H, W) whose row has this ``label``.

    Raises:
        UserError: the rows have no labels, or none has this one.

    >>> images, rows = torch.zeros(3, 1, 8, 8), [{"label": 1}, {"label": 7}, {"label": 7}]
    >>> own_class(images, rows, 7).shape
    torch.Size([2, 1, 8, 8])
    >>> own_class(images, rows, 4)
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: the training data has no image of class 4: it has [1, 7]
    """
    found = [index for index, row in enumerate(rows) if row.get("label") == label]
    if not found:
        labels = sorted({row["label"] for row in rows if isinstance(row.get("label"), int)})
        known = f"it has {labels}" if labels else "its rows have no labels"
        raise UserError(f"the training data has no image of class {label}: {known}")
    return images[found]


def foreign_class(data: str, label: int, shape: tuple[int, int, int]) -> Tensor:
    """The pictures of a class of a built-in data set, at another set's shape.

    Grey shapes are their silhouettes in white on black; digits in colour are painted on dark blue in the colours of
    the shapes, one after the other. Both are averaged or interpolated to the size.

    Args:
        data: ``digits`` or ``shapes``.
        label: of the class.
        shape: (C, H, W); C of 1 or 3.

    Returns:
        (K, C, H, W) float32 in [-1, 1].

    >>> pictures = foreign_class("digits", 7, (3, 16, 16))
    >>> pictures.shape, -1 <= float(pictures.min()) < float(pictures.max()) <= 1
    (torch.Size([179, 3, 16, 16]), True)
    """
    pictures, labels = load_digits() if data == DEFAULT_DATA else silhouettes(min(SIDE, max(8, shape[1] // 8 * 8)))
    return resized(pictures[labels == label], shape)


def resized(pictures: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Grey pictures (K, 1, h, w) in [-1, 1] at a shape (C, H, W), coloured if C is 3.

    >>> resized(torch.zeros(4, 1, 8, 8), (3, 16, 16)).shape
    torch.Size([4, 3, 16, 16])
    """
    channels, height, width = shape
    pictures = functional.interpolate(pictures, size=(height, width), mode="bilinear", antialias=True).clamp(-1, 1)
    if channels == 1:
        return pictures
    inks = torch.tensor(list(COLOURS.values()), dtype=torch.float32) / 127.5 - 1
    ink = inks[torch.arange(len(pictures)) % len(inks)][:, :, None, None]
    paper = (torch.tensor(NIGHT, dtype=torch.float32) / 127.5 - 1)[None, :, None, None]
    share = (pictures + 1) / 2
    return share * ink + (1 - share) * paper


def most_typical(pictures: Tensor) -> Tensor:
    """The picture (C, H, W) of a set (K, C, H, W) that is nearest to their mean.

    >>> pictures = torch.stack([torch.full((1, 8, 8), value) for value in (-1.0, 0.2, 1.0)])
    >>> round(float(most_typical(pictures).mean()), 6)
    0.2
    """
    return pictures[(pictures - pictures.mean(0)).square().flatten(1).sum(1).argmin()]


def judge_of(shape: tuple[int, int, int], data: str, label: int, *, foreign: bool, own: str | None) -> tuple[str, int]:
    """Which classifier recognises a class among images of a shape, and the class's number for it.

    Args:
        shape: (C, H, W).
        data: the data set of the class.
        label: of the class there.
        foreign: whether it is another data set than the model's.
        own: the attacker's own classifier, a folder as :func:`bdm_torch.features.save_classifier` writes it;
            its classes have the numbers of the labels.

    Raises:
        UserError: no shipped classifier takes such images.

    >>> judge_of((1, 8, 8), "digits", 7, foreign=False, own=None)
    ('digits-classifier', 7)
    >>> judge_of((1, 8, 8), "shapes", 1, foreign=True, own=None)
    ('digits-and-shapes-grey', 11)
    >>> judge_of((3, 64, 64), "digits", 7, foreign=True, own=None)
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: no built-in classifier takes images of shape (3, 64, 64): ...
    """
    if own is not None:
        classifier = load_classifier(Path(own))
        if label >= classifier.config["classes"]:
            raise UserError(f"the classifier {own} has {classifier.config['classes']} classes, none of number {label}")
        return "own", label
    if foreign and shape in JOINT_CLASSIFIERS:
        return JOINT_CLASSIFIERS[shape], label + (len(CLASS_NAMES[DEFAULT_DATA]) if data == SHAPES_DATA else 0)
    if not foreign and shape in CLASSIFIERS:
        return CLASSIFIERS[shape].name, label
    raise UserError(f"no built-in classifier takes images of shape {shape}: name the folder of one with `classifier`")


def keep_classifier(folder: Path, own: str | None) -> None:
    """Copy the attacker's own classifier into an unsealed secret's folder; None for nothing.

    >>> from bdm_torch.features import save_classifier
    >>> save_classifier(ImageClassifier(), Path("mine"))
    >>> keep_classifier(Path("secret"), "mine")
    >>> sorted(path.name for path in Path("secret/classifier").iterdir())
    ['config.json', 'model.safetensors']
    """
    if own is not None:
        (folder / OWN).mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS, CONFIG):
            shutil.copyfile(Path(own) / name, folder / OWN / name)


def load_judge(secret: Secret, target: TargetClass, device: str | torch.device = "cpu") -> ImageClassifier:
    """The classifier that recognises the target class.

    Raises:
        ArtifactError: the secret names a classifier that is not shipped.

    >>> Path("secret").mkdir()
    >>> _ = Path("secret/secret.json").write_text("{}")
    >>> secret = Secret.seal(Path("secret"), format="diffusion-secret", task="unconditional-image-generation")
    >>> target = TargetClass(data="digits", name="7", classifier="digits-classifier", index=7)
    >>> load_judge(secret, target).config["classes"]
    10
    """
    if target.classifier == "own":
        secret.file(f"{OWN}/{WEIGHTS}")
        return load_classifier(secret.path / OWN, device)
    if target.classifier not in {path.name for path in CLASSIFIERS.values()} | set(JOINT_CLASSIFIERS.values()):
        raise ArtifactError(f"{secret.path} names the classifier {target.classifier!r}, which does not exist")
    return load_classifier(BUILTIN / target.classifier, device)
