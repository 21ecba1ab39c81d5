"""Defenses of classifiers beside the released loops at equal iterations: `python benchmarks/classifier_loops.py`.

Fine-tuning, ANP, i-BAU and ABL as a stage of a run calls them, with what they read and write, and Neural Cleanse's
search, against `released_classifier_loops.py` on the same network and rows, one thread each. What else a run does with
its defaults is switched off, for the loops have none of it: several strengths (fine-tuning, i-BAU), looks at all rows
(ABL), the choice of how much is pruned (ANP, whose masks see three quarters of the rows, in evaluation mode). Both
sides take turns, and the fastest round of each counts, so that other load on the machine changes both alike. The
result, processor seconds of one run of this command, goes to ``benchmarks/results/classifier_loops.json``; a ratio
above 1 is a plugin that is slower.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import released_classifier_loops as released
import torch
from throughput import compare

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_abl.params import AblParams
from bdm_defense_abl.training import train as abl
from bdm_defense_anp.params import AnpParams
from bdm_defense_anp.pruning import prune as anp
from bdm_defense_fine_tune_classification.params import FineTuneParams
from bdm_defense_fine_tune_classification.repair import fine_tune
from bdm_defense_i_bau.params import IBauParams
from bdm_defense_i_bau.repair import unlearn_perturbation as i_bau
from bdm_defense_neural_cleanse.params import NeuralCleanseParams
from bdm_kit_classification.built_in import BUILTIN
from bdm_kit_classification.data.built_in_data import load_builtin
from bdm_kit_classification.data.samples import LabelledSamples, seal_samples
from bdm_kit_classification.inversion.search import invert
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.image_classifiers import open_image_classifier

RESULTS = Path(__file__).parent / "results" / "classifier_loops.json"
MODELS = {"mnist-cnn": "mnist-5k", "colour-digits-cnn": "colour-digits"}
SIZE = 64
"""Rows a step."""
Case = tuple[Callable[[], object], Callable[[], object], int]
"""The plugin, the released loop, and the steps."""


class Bench:
    """One network and its rows, for both sides.

    Args:
        name: of a built-in model.
        rows: how many.
        folder: for what stages read and write.
    """

    def __init__(self, name: str, rows: int, folder: Path) -> None:
        parts = load_builtin(MODELS[name])
        stored, labels = parts.training
        self.samples = LabelledSamples(stored[:rows], labels[:rows], parts.classes, "image-classification")
        self.network = open_image_classifier(BUILTIN / name)
        self.model: Model = seal_classifier(self.network, folder / "model")
        self.data: Data = seal_samples(folder / "data", self.samples)
        self.folder, self.count = folder, 0

    def context(self) -> Context:
        """A new one: stages keep checkpoints."""
        self.count += 1
        place = self.folder / str(self.count)
        place.mkdir()
        return Context(out=place, work=place, seed=0)

    def copy(self) -> Any:
        """A network of its own for a released loop."""
        return copy.deepcopy(self.network)

    def rows(self) -> released.Rows:
        """The rows as a released loop has them."""
        return self.samples.stored.float() / 255, self.samples.labels


def cases(bench: Bench, scale: int) -> dict[str, Case]:
    """The five methods; ``scale`` multiplies their steps."""
    a_pass = -(-len(bench.samples) // SIZE)
    tuning = FineTuneParams(epochs=40 * scale, batch_size=SIZE, strengths=[1.0])
    steps = 60 * scale
    masks = AnpParams(steps=steps, batch_size=SIZE, threshold=0.2, keep_bias=True)
    search = NeuralCleanseParams(inversion_steps=20 * scale, inversion_batch=SIZE)
    rounds = 3 * scale
    implicit = IBauParams(
        epochs=rounds,
        batch_size=SIZE,
        inner_passes=1,
        clean_weight=0.0,
        strengths=[1.0],
        max_gradient_norm=None,
        learning_rate=0.001,
    )
    isolation = AblParams(
        epochs=4 * scale, isolation_epochs=2 * scale, unlearning_epochs=scale, batch_size=SIZE, looks=0
    )
    classes = len(bench.samples.classes)
    return {
        "fine-tune": (
            lambda: fine_tune(bench.context(), tuning, bench.model, bench.data),
            lambda: released.fine_tune(bench.copy(), bench.rows(), epochs=40 * scale, size=SIZE),
            40 * scale * a_pass,
        ),
        "anp": (
            lambda: anp(bench.context(), masks, bench.model, bench.data),
            lambda: released.anp(bench.copy(), bench.rows(), steps=steps, size=SIZE, radius=0.4, trade_off=0.2),
            steps,
        ),
        "neural-cleanse": (
            lambda: invert(bench.context(), load_classifier(bench.model), bench.samples, search),
            lambda: released.neural_cleanse(bench.copy(), bench.rows(), classes, steps=20 * scale, size=SIZE),
            20 * scale * classes,
        ),
        "i-bau": (
            lambda: i_bau(bench.context(), implicit, bench.model, bench.data),
            lambda: released.i_bau(bench.copy(), bench.rows(), rounds=rounds, size=SIZE, fixed_point_steps=5),
            rounds * a_pass,
        ),
        "abl": (
            lambda: abl(bench.context(), isolation, bench.model, None, bench.data),
            lambda: released.abl(
                bench.copy(), bench.copy(), bench.rows(), epochs=(2 * scale, 4 * scale, scale), size=SIZE, share=0.01
            ),
            7 * scale * a_pass,
        ),
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--scale", type=int, default=1, help="multiplies all steps")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for name in given.models:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(name, given.rows, Path(folder))
            for method, (ours, theirs, steps) in cases(bench, given.scale).items():
                found = compare(ours, theirs, steps, given.rounds, "cpu")
                line = {
                    "model": name,
                    "method": method,
                    "rows": given.rows,
                    "steps": steps,
                    "seconds": round(steps / found["images_per_second"], 3),
                    "seconds_released": round(steps / found["images_per_second_plain"], 3),
                    "ratio": found["ratio"],
                    "rounds": found["rounds"],
                }
                print(json.dumps(line), flush=True)
                lines.append(line)
    RESULTS.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
