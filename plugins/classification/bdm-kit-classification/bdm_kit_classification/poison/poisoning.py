"""Poisoned training rows: trigger times label rule times selection, sealed with roles, true labels and the trigger."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import PluginError
from bdm_kit_classification.data.samples import LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.noise.drawing import kinds_of, realised, settle, without_overwritten
from bdm_kit_classification.poison.params import PoisonParams
from bdm_kit_classification.poison.secret import Backdoor, write_backdoor
from bdm_kit_classification.poison.selection import Plan, plan_rows
from bdm_kit_classification.triggers.label_rule import LabelRule, make_rule
from bdm_kit_classification.triggers.trigger import Trigger, apply_in_batches

ORIGINALS = "originals"


def rule_of(params: PoisonParams, samples: LabelledSamples) -> LabelRule:
    """The label rule that an attack's parameters ask for. Raises UserError if the data have no such class.

    >>> import torch
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> rule_of(PoisonParams(target=1), rows).wanted(0)
    1
    >>> rule_of(PoisonParams(target=2), rows)
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: there is no target class 2: the data have the classes 0 to 1
    """
    return make_rule(params.label_rule, len(samples.classes), params.target, list(params.sources))


def plan_of(
    ctx: Context,
    params: PoisonParams,
    samples: LabelledSamples,
    rule: LabelRule,
    rates: Mapping[str, float] | None = None,
    *,
    control: bool = False,
) -> Plan:
    """The rows by role, drawn with the stage's seed: :func:`bdm_kit_classification.poison.selection.plan_rows`.

    Args:
        ctx: of the stage.
        params: rate and selection of the poison.
        samples: the clean training rows.
        rule: of the attack.
        rates: ``cover`` and ``negative`` as shares of the training set; none by default.
        control: whether a rate of just 0 is taken, which poisons nothing.

    Raises:
        UserError: an impossible rate.

    >>> import torch
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> params = PoisonParams(poison_rate=0.2)
    >>> plan = plan_of(ctx, params, rows, rule_of(params, rows), {"cover": 0.1})
    >>> len(plan.poison), len(plan.cover), rows.labels[plan.poison].tolist()
    (2, 1, [1, 1])
    """
    rates = rates or {}
    others = {"cover_rate": rates.get("cover", 0.0), "negative_rate": rates.get("negative", 0.0)}
    return plan_rows(samples.labels.tolist(), rule, params, ctx.seed, control=control, **others)


def require_plan(
    ctx: Context, params: PoisonParams, samples: LabelledSamples, rates: Mapping[str, float] | None = None
) -> None:
    """Refuse a target, rule or rate that cannot be, for attacks that train something before they poison.

    Raises:
        UserError: no such class, or an impossible rate.

    >>> from pathlib import Path
    >>> import torch
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> require_plan(ctx, PoisonParams(poison_rate=0.2), rows)
    >>> require_plan(ctx, PoisonParams(poison_rate=0.2, target=2), rows)
    Traceback (most recent call last):
    bdm_core.errors.UserError: ...
    """
    plan_of(ctx, params, samples, rule_of(params, samples), rates)


def poison_training_rows(
    ctx: Context,
    params: PoisonParams,
    data: Data,
    trigger: Trigger,
    *,
    negative: Trigger | None = None,
    rates: Mapping[str, float] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Data:
    """``poison_data`` of an attack whose trigger is known before training: draw rows, apply, seal.

    A rate of just 0 poisons nothing: the control that has everything but the poison.

    Args:
        ctx: the result goes to ``ctx.out / "data"``; the seed draws the rows.
        params: rate, rule, selection.
        data: the clean training data.
        trigger: put into rows of the roles poison and cover, in phase ``train``.
        negative: put into negatives.
        rates: ``cover`` and ``negative`` as shares of the training set; none by default.
        facts: what else the secret notes.

    Raises:
        UserError: no such class, or an impossible rate.

    >>> import torch
    >>> from bdm_kit_classification.triggers.patch import square
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> white = square((1, 8, 8), size=2, corner="top-left", margin=0, value=1.0)
    >>> clean = seal_samples(Path("clean"), rows)
    >>> poisoned = open_samples(poison_training_rows(ctx, PoisonParams(poison_rate=0.2), clean, white))
    >>> poisoned.roles.count("poison"), int(rows.labels.sum()), int(poisoned.labels.sum())
    (2, 5, 3)
    >>> poisoned.raw().sum()  # two squares of 2x2 pixels
    tensor(8.)
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule, rates, control=True)
    samples = settle(samples, plan.rows)
    return seal_poisoned(ctx.out / "data", samples, Backdoor(rule, trigger, negative, facts or {}), plan, ctx.seed)


def seal_view(ctx: Context, samples: LabelledSamples, backdoor: Backdoor, plan: Plan) -> Data:
    """The training data of an attack that controls training, as a *view*: what it trained on at the end.

    Rows of the plan are given the finished trigger once, although the attack drew them anew in each batch. The manifest
    says ``view: true``. To be returned as ``Backdoored(view=...)``.

    Args:
        ctx: the view goes to ``ctx.out / "view"``.
        samples: the clean training rows.
        backdoor: with the finished trigger.
        plan: rows by role, as many as an epoch had on average.

    >>> import torch
    >>> from bdm_kit_classification.triggers.patch import square
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> white = square((1, 8, 8), size=2, corner="top-left", margin=0, value=1.0)
    >>> rule = LabelRule(kind="all-to-one", classes=2, target=0)
    >>> view = seal_view(ctx, rows, Backdoor(rule, white), Plan([1, 3], [], []))
    >>> view.meta["view"], view.path.name, open_samples(view).labels[:4].tolist()
    (True, 'view', [0, 0, 0, 0])
    """
    return seal_poisoned(ctx.out / "view", samples, backdoor, plan, ctx.seed, {"view": True})


def seal_poisoned(
    folder: Path,
    samples: LabelledSamples,
    backdoor: Backdoor,
    plan: Plan,
    seed: int,
    meta: Mapping[str, Any] | None = None,
) -> Data:
    """Apply the triggers to the rows of a plan and seal all rows, the backdoor, and the originals of changed rows.

    Each row says ``role``, and ``true_label`` where its label was changed.

    Args:
        folder: where to.
        samples: the clean training rows.
        backdoor: rule and triggers, which are applied in phase ``train``.
        plan: rows by role.
        seed: of triggers that differ at random, and of the labels of an untargeted rule.
        meta: further facts for the manifest.

    Raises:
        PluginError: the plan asks for negatives, and the backdoor has no trigger for them.

    >>> import torch
    >>> from bdm_kit_classification.triggers.patch import square
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> white = square((1, 8, 8), size=2, corner="top-left", margin=0, value=1.0)
    >>> rule = LabelRule(kind="all-to-one", classes=2, target=0)
    >>> data = seal_poisoned(Path("data"), rows, Backdoor(rule, white), Plan([1, 3], [0], []), seed=0)
    >>> open_samples(data).roles[:4], open_samples(data).labels[:4].tolist(), open_samples(data).facts[1]["true_label"]
    (['cover', 'poison', 'clean', 'poison'], [0, 0, 0, 0], 1)
    >>> len(open_samples(data, ORIGINALS))
    3
    """
    triggered = sorted([*plan.poison, *plan.cover])
    changed = samples
    groups = [(triggered, backdoor.trigger), (list(plan.negative), backdoor.negative)]
    for number, (rows, trigger) in enumerate(groups):
        if rows:
            if trigger is None:
                raise PluginError("there are negatives and no trigger for them: give Backdoor a negative")
            changed = changed.changed(rows, apply_in_batches(trigger, samples.raw(rows), "train", seed + number))
    return seal_changed(folder, samples, changed, backdoor, plan, seed=seed, meta=meta)


def seal_changed(
    folder: Path,
    clean: LabelledSamples,
    changed: LabelledSamples,
    backdoor: Backdoor,
    plan: Plan,
    *,
    seed: int,
    meta: Mapping[str, Any] | None = None,
) -> Data:
    """As :func:`seal_poisoned`, for samples that were changed already: adversarial ones, or by a hiding network.

    Where the rule writes its target over the label of a poisoned row, whatever that was, its label noise is gone and
    no longer counted.

    Args:
        folder: where to.
        clean: the clean training rows.
        changed: as many rows in the same order, those of the plan changed; its labels are not looked at.
        backdoor: rule and trigger of the finished model.
        plan: rows by role.
        seed: draws the labels of an untargeted rule.
        meta: further facts for the manifest.

    >>> import torch
    >>> from bdm_kit_classification.triggers.patch import square
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> white = square((1, 8, 8), size=2, corner="top-left", margin=0, value=1.0)
    >>> rule = LabelRule(kind="all-to-one", classes=2, target=0)
    >>> changed = rows.changed([1], torch.ones(1, 1, 8, 8))
    >>> data = seal_changed(Path("data"), rows, changed, Backdoor(rule, white), Plan([1], [], []), seed=0)
    >>> found = open_samples(data)
    >>> found.raw([1]).mean(), found.labels[:2].tolist(), found.roles[:2]
    (tensor(1.), [0, 0], ['clean', 'poison'])
    """
    labels = clean.labels.tolist()
    draw = random.Random(f"labels/{seed}")
    new = {row: backdoor.rule.training_label(labels[row], draw) for row in plan.poison}
    roles = {row: name for name in ("poison", "cover", "negative") for row in getattr(plan, name)}
    kinds = kinds_of(changed)
    if backdoor.rule.kind in ("all-to-one", "source-specific") and not backdoor.rule.keep_labels:
        changed = without_overwritten(changed, plan.poison)
    rows = changed.changed([], None, new)
    for row, fact in enumerate(rows.facts):
        fact["role"] = roles.get(row, "clean")
        if new.get(row, labels[row]) != labels[row]:
            fact.setdefault("true_label", labels[row])
    noise = {"noise": found} if (found := realised(rows, kinds)) else {}
    write_backdoor(folder, replace(backdoor, facts={**backdoor.facts, **noise}))
    originals = clean.pick(sorted(roles))
    return seal_samples(folder, rows, parts={ORIGINALS: originals}, meta={**noise, **(meta or {})})
