"""Clean classifiers of many kinds, for the audit of classifiers: `python benchmarks/classifier_population.py OUT`.

Each member is made from seeds alone and lies in OUT/PART/NAME as a model folder; what is there is kept, so that the
command continues. PART is `calibration`, `test`, `third`, `fourth` or `fifth`; each of the last three was opened once,
after a detector was finished, and the third and the fourth have become development data then. Backdoored members are
models of sweeps of attacks, see classifier_audit.py.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bdm_core.context import Context
from bdm_kit_classification.catalogue import BUILTIN_DATA
from bdm_kit_classification.data.samples import TEST, LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.models.folders import ARCHITECTURE
from bdm_kit_classification.models.image_classifiers import build, normalised, open_image_classifier
from bdm_kit_classification.recipes.clean_model import open_data
from bdm_kit_classification.training.fitting import accuracy, fit
from bdm_kit_classification.training.params import ClassifierTraining

PARTS = ("calibration", "test", "third", "fourth", "fifth")
DATA = ("mnist-5k", "colour-digits")
TRAINING = {"mnist-5k": {"epochs": 8}, "colour-digits": {"epochs": 10, "shift": 1}}


@dataclass(frozen=True)
class Kind:
    """How a clean classifier differs from one that is simply trained on its data.

    Attributes:
        training: parameters of the training that differ.
        network: architecture and width.
        rows: how many training rows; None for all.
        data: other data than the usual.
        before: changes the training rows.
        after: changes the finished model.
    """

    training: dict[str, object] | None = None
    network: tuple[str, int | None] = ("cnn", None)
    rows: int | None = None
    data: str = ""
    before: Callable[[LabelledSamples, random.Random], LabelledSamples] | None = None
    after: Callable[[Classifier, torch.Generator], None] | None = None


def imbalanced(samples: LabelledSamples, chance: random.Random) -> LabelledSamples:
    """One class with a quarter of its rows."""
    rare = chance.randrange(len(samples.classes))
    own = samples.rows_of_class(rare)
    out = set(own[len(own) // 4 :])
    return samples.pick([row for row in range(len(samples)) if row not in out])


def low_contrast(samples: LabelledSamples, chance: random.Random) -> LabelledSamples:
    """Half the contrast, around a random grey."""
    rows, grey = list(range(len(samples))), chance.uniform(0.3, 0.7)
    return samples.changed(rows, grey + (samples.raw() - grey) / 2)


def noisy_labels(samples: LabelledSamples, chance: random.Random) -> LabelledSamples:
    """A twentieth of the labels is wrong at random."""
    labels = samples.labels.clone()
    for row in chance.sample(range(len(samples)), len(samples) // 20):
        labels[row] = chance.randrange(len(samples.classes))
    return LabelledSamples(samples.stored, labels, samples.classes, samples.task)


def _weights(classifier: nn.Module) -> list[Tensor]:
    return [value for value in classifier.parameters() if value.ndim > 1]


def pruned(classifier: Classifier, generator: torch.Generator) -> None:
    """The smallest 30 % of each layer's weights are zero."""
    for weight in _weights(classifier):
        weight.data[weight.abs() < weight.abs().flatten().kthvalue(max(1, int(0.3 * weight.numel()))).values] = 0


def noisy(classifier: Classifier, generator: torch.Generator) -> None:
    """5 % noise on the weights."""
    for weight in _weights(classifier):
        noise = torch.randn(weight.shape, generator=generator)
        weight.data += 0.05 * weight.std() * noise


def quantised(classifier: Classifier, generator: torch.Generator) -> None:
    """Weights of 6 bits."""
    for weight in _weights(classifier):
        step = weight.abs().max() / 31
        weight.data = (weight / step).round() * step


KINDS: dict[str, Kind] = {
    "plain": Kind(),
    "long": Kind(training={"epochs": 24}),
    "adam-smoothed": Kind(training={"optimizer": "adam", "learning_rate": 2e-3, "label_smoothing": 0.1}),
    "augmented": Kind(training={"shift": 3}),
    "wide": Kind(network=("cnn", 24)),
    "vgg": Kind(network=("vgg19-bn", 8), training={"epochs": 10, "learning_rate": 0.03}),
    "few-rows": Kind(rows=800, training={"epochs": 30}),
    "imbalanced": Kind(before=imbalanced),
    "low-contrast": Kind(before=low_contrast),
    "noisy-labels": Kind(before=noisy_labels),
    "pruned": Kind(after=pruned),
    "noisy": Kind(after=noisy),
    "quantised": Kind(after=quantised),
    "other-data": Kind(data="clutter", network=("cnn-wide", 32), training={"epochs": 6}),
}
SEEDS = {"calibration": (100, 101), "test": (200,), "third": (300, 301), "fourth": (400, 401)}
TWICE = ("plain", "pruned", "noisy", "quantised")
"""Kinds of the fourth part that each seed has; of the others there is one."""
NOT_IN_FOURTH = ("long", "wide", "other-data")
"""The fourth part leaves out what takes long, and data that no attack was measured on; so does the fifth."""
AGAIN = ("plain", "adam-smoothed", "augmented", "pruned", "noisy", "quantised")
"""Kinds of the fifth part that there are two of for each data set; of the others there is one."""
FIRST_OF_FIFTH = 500
"""Seeds of the fifth part count from here: each model has its own, so that no two share weights or a training."""


def members(part: str) -> list[tuple[str, str, str, int]]:
    """Name, kind, data and seed of each clean member of a part."""
    if part == "fifth":
        once = [kind for kind in KINDS if kind not in NOT_IN_FOURTH]
        named = [(kind, data) for kind in (*once, *AGAIN) for data in DATA]
        return [(f"{kind}-{data}-{seed}", kind, data, seed) for seed, (kind, data) in enumerate(named, FIRST_OF_FIFTH)]
    if part == "fourth":
        kinds = {kind: SEEDS[part] if kind in TWICE else SEEDS[part][:1] for kind in KINDS if kind not in NOT_IN_FOURTH}
        return [(f"{kind}-{data}-{seed}", kind, data, seed) for kind in kinds for data in DATA for seed in kinds[kind]]
    found = []
    for kind, how in KINDS.items():
        for number, data in enumerate((how.data,) if how.data else DATA):
            seeds = SEEDS[part] if part == "calibration" or how.data else SEEDS[part][: 1 + (number + len(kind)) % 2]
            found += [(f"{kind}-{data}-{seed}", kind, data, seed) for seed in seeds]
    return found


def make(kind: str, data: str, seed: int, folder: Path) -> None:
    """Train one clean model and write its folder."""
    how, chance, work = KINDS[kind], random.Random(f"{kind} {data} {seed}"), Path(tempfile.mkdtemp())
    opened = open_data(data, BUILTIN_DATA[data], work)
    samples = open_samples(opened)
    if how.rows is not None:
        samples = samples.pick(sorted(chance.sample(range(len(samples)), how.rows)))
    if how.before is not None:
        samples = how.before(samples, chance)
    network, width = how.network
    more = {ARCHITECTURE: network, "width": width, "trained_on": data}
    config = normalised(samples.stored, samples.classes, **more)
    plain = folder.with_name(f"plain-{data}-{seed}")
    if how.after is not None and plain.is_dir():  # the same training, then changed
        classifier = open_image_classifier(plain)
    else:
        classifier = build(config, seed)
        params = ClassifierTraining.model_validate({**TRAINING.get(data, {}), **(how.training or {})})
        fit(Context(out=work, work=work, seed=seed), classifier, samples, params)
    if how.after is not None:
        with torch.no_grad():
            how.after(classifier, torch.Generator().manual_seed(seed))
    new = folder.with_name(folder.name + ".part")
    new.mkdir(parents=True)
    classifier.write(new)
    facts = {"kind": kind, "data": data, "seed": seed, "accuracy": accuracy(classifier, open_samples(opened, TEST))}
    new.rename(folder)
    print(json.dumps({"model": str(folder), **facts}), flush=True)
    shutil.rmtree(work)


def main() -> None:
    """The command."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", choices=PARTS, required=True)
    given = parser.parse_args()
    for name, kind, data, seed in members(given.part):
        folder = given.out / given.part / name
        if not folder.exists():
            shutil.rmtree(folder.with_name(folder.name + ".part"), ignore_errors=True)
            make(kind, data, seed, folder)


if __name__ == "__main__":
    main()
