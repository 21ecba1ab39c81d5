"""Make the backdoored model: train on the poisoned rows, and what attacks that control training need around theirs."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.poison.poisoning import ORIGINALS, seal_view
from bdm_kit_classification.poison.secret import Backdoor, read_backdoor, seal_secret
from bdm_kit_classification.poison.selection import Plan
from bdm_kit_classification.training.fitting import Changes, fit
from bdm_kit_classification.training.params import ClassifierTraining, VictimTraining


def train_on_poisoned_rows(
    ctx: Context, params: VictimTraining, model: Model, data: Data, changes: Changes | None = None
) -> Backdoored:
    """``inject_backdoor`` of an attack on training data: an ordinary training on what ``poison_data`` sealed.

    Args:
        ctx: of the stage.
        params: the victim's training.
        model: the clean model, whose architecture (or weights, ``start``) is taken.
        data: what ``poison_data`` sealed.
        changes: what differs from plain training, if anything.
    """
    samples, backdoor = open_samples(data), read_backdoor(data)
    victim = victim_of(ctx, params, model)
    fit(ctx, victim, samples, params, changes)
    examples = open_samples(data, ORIGINALS)
    return seal_attack(ctx, victim, backdoor, examples if len(examples) else samples)


def victim_of(ctx: Context, params: VictimTraining, model: Model) -> Classifier:
    """The classifier that is to be trained: the model's architecture with new weights, or the model itself."""
    classifier = load_classifier(model)
    if params.start == "model":
        return classifier
    fresh = classifier.fresh(ctx.seed)
    fresh.trained_on = classifier.trained_on
    return fresh


def seal_attack(
    ctx: Context,
    victim: Classifier,
    backdoor: Backdoor,
    samples: LabelledSamples,
    plan: Plan | None = None,
) -> Backdoored:
    """Seal the trained victim, the secret and, with a plan, the view of what was trained on.

    Args:
        ctx: of the stage.
        victim: trained.
        backdoor: rule and finished trigger.
        samples: clean training rows, or some for the examples of the secret where there is no plan.
        plan: for an attack that controls training: its rows by role.
    """
    view = None if plan is None else seal_view(ctx, samples, backdoor, plan)
    model = seal_classifier(victim, ctx.out / "model")
    return Backdoored(model=model, secret=seal_secret(ctx.out / "secret", backdoor, samples, ctx.seed), view=view)


def train_surrogate(
    ctx: Context, samples: LabelledSamples, like: Classifier, params: ClassifierTraining, *, label: str = "surrogate"
) -> Classifier:
    """A clean classifier of the attacker's own, for triggers that are optimised on one before any victim exists.

    Args:
        ctx: of the stage.
        samples: clean training rows.
        like: whose architecture is taken, with new weights.
        params: its training.
        label: names checkpoint and progress.
    """
    surrogate = like.fresh(ctx.seed + 1)
    fit(ctx, surrogate, samples, params, label=label)
    return surrogate
