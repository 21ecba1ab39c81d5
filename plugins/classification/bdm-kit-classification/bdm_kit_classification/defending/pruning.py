"""Pruning by a sweep: units in an order, cut into steps, and the operating point among them.

What is kept of a sweep (the figure ``sweep`` of the stage) lets ``metric:operating-point`` prune the undefended model
again, step by step, and show what other points would have given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.operating_point import Choice, choose, report_choice
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.tasks.text import TEXT_TASK
from bdm_kit_classification.training.fitting import accuracy

Units = Mapping[str, Sequence[int]]
"""Numbers of units by the name of their module, as ``named_modules`` of the classifier has it."""


@dataclass(frozen=True)
class Sweep:
    """Candidates of a pruning, from the smallest to the largest.

    Attributes:
        knob: what is turned, e.g. ``units pruned`` or ``threshold``.
        values: of the knob, one a candidate.
        steps: the units that each candidate prunes beside those of all before it.
        keep_bias: whether pruned units keep their bias, see :func:`silence`.
    """

    knob: str
    values: Sequence[float]
    steps: Sequence[Units]
    keep_bias: bool = False


def silence(classifier: Classifier, units: Units, keep_bias: bool = False) -> None:
    """Prune units in place: weight and bias of these outputs become zero; of the head the weights of these inputs.

    Units of a batch normalisation give zero then, those of a convolution what follows it makes of zero. With
    ``keep_bias`` the weights alone become zero: a unit gives its bias whatever it sees, as masks of weights leave it.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> silence(classifier, {"network.norms.3": [1, 5]})
    >>> classifier.features(torch.rand(2, 1, 8, 8))[:, [1, 5]].abs().max().item()
    0.0
    """
    modules: dict[str, Any] = dict(classifier.named_modules())
    with torch.no_grad():
        for name, numbers in units.items():
            module, chosen = modules[name], list(numbers)
            if module is classifier.head:
                module.weight[:, chosen] = 0
                continue
            for values in (module.weight, None if keep_bias else module.bias):
                if values is not None:
                    values[chosen] = 0


def by_score(scores: Mapping[str, Tensor], cuts: Sequence[float], *, knob: str) -> Sweep:
    """A sweep over thresholds of a score: at each cut the units whose score is above it are pruned.

    Args:
        scores: of each unit, by module, (units,) each; higher is more suspicious. Units that are not finite stay.
        cuts: thresholds, falling.
        knob: what they are called.

    >>> sweep = by_score({"a": torch.tensor([0.1, 4.0]), "b": torch.tensor([2.5])}, [3.0, 2.0], knob="u")
    >>> sweep.steps
    [{'a': [1]}, {'b': [0]}]
    >>> by_score({"a": torch.tensor([float("inf"), 4.0])}, [3.0], knob="u").steps
    [{'a': [1]}]
    """
    steps: list[Units] = []
    above = float("inf")
    for cut in cuts:
        new = {
            name: ((each > cut) & (each <= above) & each.isfinite()).nonzero().flatten().tolist()
            for name, each in scores.items()
        }
        steps.append({name: numbers for name, numbers in new.items() if numbers})
        above = cut
    return Sweep(knob, list(cuts), steps)


def in_order(
    order: Sequence[tuple[str, int]], counts: Sequence[int], *, knob: str = "units pruned", keep_bias: bool = False
) -> Sweep:
    """A sweep that prunes the first ``counts[0]``, ``counts[1]``, ... units of an order, which rises.

    >>> in_order([("a", 2), ("b", 0), ("a", 1)], [1, 3]).steps
    [{'a': [2]}, {'b': [0], 'a': [1]}]
    """
    steps: list[Units] = []
    done = 0
    for count in counts:
        step: dict[str, list[int]] = {}
        for name, number in order[done:count]:
            step.setdefault(name, []).append(number)
        steps.append(step)
        done = max(done, count)
    return Sweep(knob, [float(count) for count in counts], steps, keep_bias)


def prune_within(
    ctx: Context, classifier: Classifier, sweep: Sweep, held: LabelledSamples, accuracy_loss: float
) -> Choice:
    """Prune in place up to the operating point: the last candidate whose accuracy on held-out clean rows is within the
    bound (:func:`bdm_kit_classification.defending.operating_point.choose`); nothing if there is none.

    Args:
        ctx: gets the curve and the sweep.
        classifier: pruned in place, in evaluation mode.
        sweep: the candidates.
        held: clean rows that chose nothing before.
        accuracy_loss: what may be lost.
    """
    undone = {name: value.clone() for name, value in classifier.state_dict().items()}

    def accuracy_of(step: Units) -> float:
        if step:
            silence(classifier, step, sweep.keep_bias)
            known.append(accuracy(classifier, held))
        return known[-1]

    known = [accuracy(classifier, held)]
    choice = choose(sweep.steps, accuracy_of, before=known[0], accuracy_loss=accuracy_loss)
    classifier.load_state_dict(undone)
    report_choice(ctx, choice, knob=sweep.knob)
    prune_to(ctx, classifier, sweep, choice.place)
    return choice


def prune_to(ctx: Context, classifier: Classifier, sweep: Sweep, place: int) -> None:
    """Prune in place up to the candidate ``place``, from 0; -1 prunes nothing. The sweep is kept with the stage."""
    for step in sweep.steps[: place + 1]:
        silence(classifier, step, sweep.keep_bias)
    pruned = sum(len(numbers) for step in sweep.steps[: place + 1] for numbers in step.values())
    kept = {"knob": sweep.knob, "values": list(sweep.values), "chosen": place, "keep_bias": sweep.keep_bias}
    steps = [{name: list(numbers) for name, numbers in step.items()} for step in sweep.steps]
    ctx.figures(units_pruned=pruned, sweep={**kept, "steps": steps})
    if not pruned:
        ctx.log.warning("no unit is pruned: no candidate prunes any within the bound")


def kept_sweep(figures: Any) -> tuple[Sweep, int] | None:
    """The sweep that a stage kept, and the place of the chosen candidate; None if it kept none.

    >>> from pathlib import Path
    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> kept = {}
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0, on_figures=kept.update)
    >>> prune_to(ctx, classifier, in_order([("network.norms.0", 3)], [1]), 0)
    >>> kept_sweep(kept)
    (Sweep(knob='units pruned', values=[1.0], steps=[{'network.norms.0': [3]}], keep_bias=False), 0)
    """
    kept = figures.get("sweep") if isinstance(figures, Mapping) else None
    if not isinstance(kept, Mapping):
        return None
    sweep = Sweep(str(kept["knob"]), kept["values"], kept["steps"], bool(kept.get("keep_bias", False)))
    return sweep, int(kept["chosen"])


def kept_at_zero(classifier: Classifier, sweep: Sweep, place: int) -> Any:
    """What ``Changes.after_step`` takes to prune the chosen units again after each step of a training, so that it does
    not bring them back.
    """
    chosen = sweep.steps[: place + 1]

    def again(number: int) -> None:
        for step in chosen:
            silence(classifier, step, sweep.keep_bias)

    return again


def norm_units(classifier: Classifier) -> dict[str, nn.BatchNorm2d]:
    """All batch normalisations that have weights, by name.

    Raises:
        UserError: there is none.
    """
    from bdm_core.errors import UserError

    found = {name: norm for name, norm in classifier.norms().items() if norm.affine}
    if not found:
        raise UserError(
            "this model has no batch normalisation, which the defense prunes: choose a model that has (bdm models), "
            "or another defense"
        )
    return cast(dict[str, nn.BatchNorm2d], found)


def prunable_units(classifier: Classifier) -> dict[str, nn.Module]:
    """What has a weight for each unit to prune, by name: all batch normalisations; of a classifier of texts without
    any, the layers that can be pruned.

    Raises:
        UserError: there is none.
    """
    if classifier.task == TEXT_TASK and not classifier.norms():
        found = {layer.name: layer.layer for layer in classifier.prunable_layers()}
        if found:
            return found
    return dict(norm_units(classifier))
