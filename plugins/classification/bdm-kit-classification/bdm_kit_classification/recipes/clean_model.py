"""Train a clean classifier and write its folder: how the built-in models were made, and how to make one for own data.

``python -m bdm_kit_classification.recipes.clean_model --data ./pictures --network preact-resnet18 --out ./clean``, and
then ``bdm run --model ./clean ...``: the model remembers its data. ``--size``, ``--channels`` say how pictures of a
folder are read; built-in data have their own size.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_kit_classification.catalogue import BUILTIN_DATA, IMAGE_TASK, TINY
from bdm_kit_classification.data.image_data import count_classes
from bdm_kit_classification.data.opening import open_reference
from bdm_kit_classification.data.samples import RESERVE, TEST, LabelledSamples, open_samples
from bdm_kit_classification.data.sources import find_source
from bdm_kit_classification.models.classifier import Classifier, seal_classifier
from bdm_kit_classification.models.folders import ARCHITECTURE, TIMM
from bdm_kit_classification.models.image_classifiers import build, normalised
from bdm_kit_classification.models.networks import NETWORKS
from bdm_kit_classification.recipes.command import keep_model, one_line_errors, remembered, require_new
from bdm_kit_classification.tasks.registry import task_of
from bdm_kit_classification.training.fitting import accuracy, fit
from bdm_kit_classification.training.params import ClassifierTraining


def train_clean(
    reference: str,
    network: str,
    width: int | None,
    shape: tuple[int, int, int],
    params: ClassifierTraining,
    seed: int,
    work: Path,
) -> tuple[Model, dict[str, float]]:
    """A clean model in ``work / "model"``, and its accuracy on the reserve and the test part.

    Args:
        reference: the data, as ``--data`` takes them.
        network: one of :data:`bdm_kit_classification.models.networks.NETWORKS`, or ``timm:`` and a name of timm.
        width: of its first layer; None for the usual, and for networks of timm.
        shape: (C, H, W) of the pictures.
        params: of the training.
        seed: of weights and training.
        work: an empty folder for the model and everything on the way to it.
    """
    data = open_data(reference, shape, work)
    where = remembered(find_source(reference, task_of(IMAGE_TASK)))
    samples = open_samples(data)
    classifier = _new(samples, network, width, where, seed)
    if reference != TINY:
        fit(Context(out=work, work=work, seed=seed), classifier, samples, params)
    parts = {part: accuracy(classifier, open_samples(data, part)) for part in (RESERVE, TEST)}
    return seal_classifier(classifier, work / "model"), parts


def _new(samples: LabelledSamples, network: str, width: int | None, where: str, seed: int) -> Classifier:
    """The network with new weights, for pictures like these."""
    if not network.startswith(TIMM):
        return build(
            normalised(samples.stored, samples.classes, **{ARCHITECTURE: network, "width": width, "trained_on": where}),
            seed,
        )
    from bdm_kit_classification.models.timm_classifier import build_timm

    config = normalised(samples.stored, samples.classes)
    normal = (config.mean, config.deviation)
    return build_timm(network.removeprefix(TIMM), config.shape, config.classes, normal, where, seed)


def open_data(reference: str, shape: tuple[int, int, int], work: Path) -> Data:
    """The data with as many classes as they have: opened with a model's manifest of their shape."""
    count = 10 if reference in BUILTIN_DATA else count_classes(Path(reference))
    (work / "any").mkdir()
    (work / "any" / "note.txt").write_text("for its manifest\n", encoding="utf-8")
    meta = {"shape": list(shape), "classes": [str(label) for label in range(count)], "trained_on": reference}
    like = Model.seal(work / "any", format="classifier", task=IMAGE_TASK, meta=meta)  # type: ignore[arg-type]
    return open_reference(reference, like, work / "data", work)


def main() -> None:
    """The command."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", required=True)
    names = ", ".join(sorted(NETWORKS))
    parser.add_argument("--network", default="cnn", help=f"{names}, or timm:NAME where timm is installed")
    parser.add_argument("--width", type=int)
    parser.add_argument("--size", type=int, default=32, help="pixels of pictures that are not built in")
    parser.add_argument("--channels", type=int, default=3, choices=(1, 3))
    parser.add_argument("--epochs", type=int, default=ClassifierTraining().epochs)
    parser.add_argument("--shift", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    shape = BUILTIN_DATA.get(given.data, (given.channels, given.size, given.size))
    with one_line_errors(), tempfile.TemporaryDirectory() as work:
        params = ClassifierTraining(epochs=given.epochs, shift=given.shift)
        require_new(given.out)
        if given.network not in NETWORKS and not given.network.startswith(TIMM):
            raise UserError(f"no network {given.network!r}: there are {names}, and timm:NAME")
        if given.data not in BUILTIN_DATA and given.data != TINY and existing(given.data) is None:
            raise UserError(f"{given.data} does not exist: give a folder, or one of {', '.join(BUILTIN_DATA)}")
        options = (given.data, given.network, given.width, shape)
        model, parts = train_clean(*options, params, given.seed, Path(work))
        keep_model(model, given.out)
    print(json.dumps({"out": str(given.out), **{f"{name} accuracy": round(value, 4) for name, value in parts.items()}}))


if __name__ == "__main__":
    main()
