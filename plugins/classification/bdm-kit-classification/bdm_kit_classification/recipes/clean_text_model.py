"""Train a clean classifier of texts and write its folder: how the built-in ones were made, and one for own data.

``python -m bdm_kit_classification.recipes.clean_text_model --data reviews.jsonl --network text-cnn --out ./clean``, and
then ``bdm run --model ./clean --task text-classification ...``: the model remembers its data.
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
from bdm_kit_classification.data.sources import find_source
from bdm_kit_classification.data.text_data import read_texts
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.models.text_classifiers import TextConfig, build, train_tokenizer
from bdm_kit_classification.models.text_networks import NETWORKS
from bdm_kit_classification.recipes.command import keep_model, one_line_errors, remembered, require_new
from bdm_kit_classification.tasks.registry import task_of
from bdm_kit_classification.tasks.text import TEXT_TASK, TINY
from bdm_kit_classification.training.fitting import accuracy, fit
from bdm_kit_classification.training.params import ClassifierTraining


def train_clean_text(
    reference: str, network: str, width: int | None, vocabulary: int, params: ClassifierTraining, seed: int, work: Path
) -> tuple[Model, dict[str, float]]:
    """A clean model in ``work / "model"``, and its accuracy on the reserve and the test part.

    Args:
        reference: the data, as ``--data`` takes them.
        network: one of :data:`bdm_kit_classification.models.text_networks.NETWORKS`.
        width: of its embedding; None for the usual.
        vocabulary: tokens of the byte-level BPE, which is learned from the training texts.
        params: of the training.
        seed: of weights and training.
        work: an empty folder for the model and everything on the way to it.
    """
    source = find_source(reference, task_of(TEXT_TASK))
    parts = read_texts(source, work)
    rows = [LabelledSamples(texts, labels, parts.classes, TEXT_TASK) for texts, labels in parts[:3]]
    tokenizer = train_tokenizer(rows[0].stored, vocabulary)
    config = TextConfig(
        architecture=network,  # type: ignore[arg-type]
        width=width,
        tokens=tokenizer.get_vocab_size(),
        classes=parts.classes,
        trained_on=remembered(source),
        fingerprint=parts.fingerprint,
    )
    classifier = build(config, tokenizer, seed)
    if reference != TINY:
        fit(Context(out=work, work=work, seed=seed), classifier, rows[0], params)
    found = {name: accuracy(classifier, part) for name, part in zip(("reserve", "test"), rows[1:], strict=True)}
    return seal_classifier(classifier, work / "model"), found


def main() -> None:
    """The command."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", required=True)
    parser.add_argument("--network", default="text-cnn", choices=sorted(NETWORKS))
    parser.add_argument("--width", type=int)
    parser.add_argument("--vocabulary", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=ClassifierTraining().epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with one_line_errors(), tempfile.TemporaryDirectory() as work:
        require_new(given.out)
        options = (given.data, given.network, given.width, given.vocabulary)
        model, parts = train_clean_text(*options, ClassifierTraining(epochs=given.epochs), given.seed, Path(work))
        keep_model(model, given.out)
    print(json.dumps({"out": str(given.out), **{f"{name} accuracy": round(value, 4) for name, value in parts.items()}}))


if __name__ == "__main__":
    main()
