"""Which pictures are worth reflecting: those that lead a model poisoned with them to the target.

In each round some pictures are drawn by their weights, training rows are poisoned with them, and a model is trained. A
picture's new weight is how many held-out pictures of other classes it leads to the target; those that were not drawn
get the median of these counts, and so another chance. In the end those are kept whose own last count is greatest.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

from bdm_attack_refool.params import RefoolParams
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.noise.drawing import settle
from bdm_kit_classification.poison.injection import train_surrogate
from bdm_kit_classification.poison.poisoning import plan_of
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import Trigger, apply_in_batches
from bdm_torch.draws import step_seed

MakeTrigger = Callable[[Tensor], Trigger]
"""make(pictures): the trigger that reflects these, uint8 (R, C, H, W)."""


def best_pictures(
    ctx: Context, params: RefoolParams, samples: LabelledSamples, rule: LabelRule, pictures: Tensor, make: MakeTrigger
) -> tuple[Tensor, list[int]]:
    """The ``kept`` pictures that led most held-out rows to the target when they were last drawn, and how many.

    Args:
        ctx: of the stage.
        params: rounds, how many are kept, training.
        samples: clean training rows, some of which are held out.
        rule: of the attack.
        pictures: uint8 (R, C, H, W), the candidates.
        make: the trigger of some of them.

    Raises:
        UserError: no row is left to hold out.
    """
    held, rest = divided(samples, rule, params.validation, ctx.seed)
    weights, last = torch.ones(len(pictures)), torch.zeros(len(pictures))
    count = min(params.kept, len(pictures))
    for number in range(params.selection_rounds):
        seed = step_seed(ctx.seed, number, "reflections")
        chosen = torch.multinomial(weights, count, generator=torch.Generator().manual_seed(seed))
        rows = poisoned(ctx, params, rest, rule, make(pictures[chosen]), seed)
        how = params.model_copy(update={"epochs": params.selection_epochs})
        model = train_surrogate(ctx, rows, how, label=f"reflections {number + 1}")
        reached = [successes(model, held, rule, make(pictures[one : one + 1]), seed) for one in chosen.tolist()]
        last[chosen] = torch.tensor(reached, dtype=torch.float32)
        weights = new_weights(len(pictures), chosen, last[chosen])
    best = last.argsort(descending=True, stable=True)[:count]
    return pictures[best], [int(reached) for reached in last[best]]


def divided(
    samples: LabelledSamples, rule: LabelRule, count: int, seed: int
) -> tuple[LabelledSamples, LabelledSamples]:
    """At most ``count`` rows that can tell of success, and not over a fifth of all; and the other rows.

    Raises:
        UserError: there are none.
    """
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed % 2**63)).tolist()
    able = [row for row in order if rule.eligible(int(samples.labels[row]))][: min(count, len(samples) // 5)]
    if not able:
        raise UserError("selection_rounds needs training rows of other classes than the target to hold out")
    out = set(able)
    return samples.pick(able), samples.pick([row for row in range(len(samples)) if row not in out])


def poisoned(
    ctx: Context, params: RefoolParams, rows: LabelledSamples, rule: LabelRule, trigger: Trigger, seed: int
) -> LabelledSamples:
    """The rows of which as many as the rate says have the trigger and the rule's label."""
    plan = plan_of(ctx, params, rows, rule)
    rows = settle(rows, plan.rows)
    draw = random.Random(f"labels/{seed}")
    labels = {row: rule.training_label(int(rows.labels[row]), draw) for row in plan.poison}
    changed = apply_in_batches(trigger, rows.raw(plan.poison), "train", seed)
    return rows.changed(plan.poison, changed, labels)


def successes(model: Classifier, held: LabelledSamples, rule: LabelRule, trigger: Trigger, seed: int) -> int:
    """How many of the held-out pictures the trigger leads to what the attacker wants."""
    with torch.no_grad():
        said = model(apply_in_batches(trigger, held.raw(), "test", seed).to(model.device)).argmax(1).tolist()
    return sum(rule.success(one, label) for one, label in zip(said, held.labels.tolist(), strict=True))


def new_weights(total: int, chosen: Tensor, reached: Tensor) -> Tensor:
    """Weights (total,): the counts of those that were drawn, and their median for all others; never 0.

    A draw needs positive weights: all are raised by a little.

    >>> new_weights(4, torch.tensor([2, 0, 3]), torch.tensor([5.0, 1.0, 2.0])).round().tolist()
    [1.0, 2.0, 5.0, 2.0]
    """
    weights = torch.full((total,), float(reached.quantile(0.5)))
    weights[chosen] = reached
    return weights + 1e-3
