"""Train a clean classifier of sound and write its folder: how the built-in ones were made, and one for own data.

``python -m bdm_kit_classification.recipes.clean_audio_model --data ./speech_commands --rate 8000 --seconds 1 --out
./clean``, and then ``bdm run --model ./clean --task audio-classification ...``: the model remembers its data.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.data.sound_data import read_recordings
from bdm_kit_classification.data.sources import find_source
from bdm_kit_classification.models.audio_classifiers import build, normalised
from bdm_kit_classification.models.audio_networks import NETWORKS
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.models.folders import ARCHITECTURE
from bdm_kit_classification.recipes.command import keep_model, one_line_errors, remembered, require_new
from bdm_kit_classification.tasks.audio import AUDIO_TASK, TINY
from bdm_kit_classification.tasks.registry import task_of
from bdm_kit_classification.training.fitting import accuracy, fit
from bdm_kit_classification.training.params import ClassifierTraining


def train_clean_audio(
    reference: str,
    network: str,
    width: int | None,
    form: tuple[int, int],
    params: ClassifierTraining,
    seed: int,
    work: Path,
) -> tuple[Model, dict[str, float]]:
    """A clean model in ``work / "model"``, and its accuracy on the reserve and the test part.

    Args:
        reference: the data, as ``--data`` takes them.
        network: one of :data:`bdm_kit_classification.models.audio_networks.NETWORKS`.
        width: of its first layer; None for the usual.
        form: samples a second and samples of a recording.
        params: of the training.
        seed: of weights and training.
        work: an empty folder for the model and everything on the way to it.
    """
    source = find_source(reference, task_of(AUDIO_TASK))
    parts = read_recordings(source, *form)
    rows = [LabelledSamples(sounds, labels, parts.classes, AUDIO_TASK) for sounds, labels in parts[:3]]
    more = {ARCHITECTURE: network, "width": width, "trained_on": remembered(source)}
    classifier = build(normalised(rows[0].stored, parts.classes, **more), seed)
    if reference != TINY:
        fit(Context(out=work, work=work, seed=seed), classifier, rows[0], params)
    measured = {name: accuracy(classifier, part) for name, part in zip(("reserve", "test"), rows[1:], strict=True)}
    return seal_classifier(classifier, work / "model"), measured


def main() -> None:
    """The command."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", required=True)
    parser.add_argument("--network", default="log-mel-cnn", choices=sorted(NETWORKS))
    parser.add_argument("--width", type=int)
    parser.add_argument("--rate", type=int, default=8000, help="samples a second")
    parser.add_argument("--seconds", type=float, default=0.5, help="duration of a recording")
    parser.add_argument("--epochs", type=int, default=ClassifierTraining().epochs)
    parser.add_argument("--shift", type=int, default=0, help="hundredths of a recording by which it is moved at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with one_line_errors(), tempfile.TemporaryDirectory() as work:
        require_new(given.out)
        form = (given.rate, round(given.rate * given.seconds))
        params = ClassifierTraining(epochs=given.epochs, shift=given.shift)
        model, parts = train_clean_audio(given.data, given.network, given.width, form, params, given.seed, Path(work))
        keep_model(model, given.out)
    print(json.dumps({"out": str(given.out), **{f"{name} accuracy": round(value, 4) for name, value in parts.items()}}))


if __name__ == "__main__":
    main()
