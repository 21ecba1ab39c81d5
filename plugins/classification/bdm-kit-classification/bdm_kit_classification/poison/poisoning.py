"""Poisoned training rows: trigger times label rule times selection, sealed with roles, true labels and the trigger."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import PluginError
from bdm_kit_classification.data.samples import LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.poison.params import PoisonParams
from bdm_kit_classification.poison.secret import Backdoor, write_backdoor
from bdm_kit_classification.poison.selection import Plan, plan_rows
from bdm_kit_classification.triggers.label_rule import LabelRule, make_rule
from bdm_kit_classification.triggers.trigger import Trigger, apply_in_batches

ORIGINALS = "originals"


def rule_of(params: PoisonParams, samples: LabelledSamples) -> LabelRule:
    """The label rule that an attack's parameters ask for. Raises UserError if the data have no such class."""
    return make_rule(params.label_rule, len(samples.classes), params.target, list(params.sources))


def plan_of(
    ctx: Context,
    params: PoisonParams,
    samples: LabelledSamples,
    rule: LabelRule,
    rates: Mapping[str, float] | None = None,
) -> Plan:
    """The rows by role, drawn with the stage's seed: :func:`bdm_kit_classification.poison.selection.plan_rows`.

    Args:
        ctx: of the stage.
        params: rate and selection of the poison.
        samples: the clean training rows.
        rule: of the attack.
        rates: ``cover`` and ``negative`` as shares of the training set; none by default.

    Raises:
        UserError: an impossible rate.
    """
    rates = rates or {}
    others = {"cover_rate": rates.get("cover", 0.0), "negative_rate": rates.get("negative", 0.0)}
    return plan_rows(samples.labels.tolist(), rule, params, ctx.seed, **others)


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
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule, rates)
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

    Raises:
        PluginError: the plan asks for negatives, and the backdoor has no trigger for them.
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

    Args:
        folder: where to.
        clean: the clean training rows.
        changed: as many rows in the same order, those of the plan changed; its labels are not looked at.
        backdoor: rule and trigger of the finished model.
        plan: rows by role.
        seed: draws the labels of an untargeted rule.
        meta: further facts for the manifest.
    """
    labels = clean.labels.tolist()
    draw = random.Random(f"labels/{seed}")
    new = {row: backdoor.rule.training_label(labels[row], draw) for row in plan.poison}
    roles = {row: name for name in ("poison", "cover", "negative") for row in getattr(plan, name)}
    rows = changed.changed([], None, new)
    for row, fact in enumerate(rows.facts):
        fact["role"] = roles.get(row, "clean")
        if new.get(row, labels[row]) != labels[row]:
            fact["true_label"] = labels[row]
    write_backdoor(folder, backdoor)
    originals = clean.pick(sorted(roles))
    return seal_samples(folder, rows, parts={ORIGINALS: originals}, meta=meta)
