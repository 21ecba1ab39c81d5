"""Make the backdoored model: train on the poisoned rows, and what attacks that control training need around theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.noise.drawing import settle
from bdm_kit_classification.poison.params import PoisonParams
from bdm_kit_classification.poison.poisoning import ORIGINALS, plan_of, seal_poisoned, seal_view
from bdm_kit_classification.poison.secret import Backdoor, read_backdoor, read_facts, seal_secret
from bdm_kit_classification.poison.selection import Plan
from bdm_kit_classification.poison.unseen import warn_of_unseen
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

    Raises:
        ArtifactError: the data hold no backdoor, or something is damaged.
        StageError: the loss is no longer finite.

    >>> from pathlib import Path
    >>> import torch
    >>> from bdm_kit_classification.data.samples import seal_samples
    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> from bdm_kit_classification.poison.poisoning import poison_training_rows
    >>> from bdm_kit_classification.triggers.patch import square
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> white = square((1, 8, 8), size=2, corner="top-left", margin=0, value=1.0)
    >>> clean = seal_samples(Path("clean"), rows)
    >>> data = poison_training_rows(ctx, PoisonParams(poison_rate=0.2), clean, white)
    >>> config = ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"])
    >>> model = seal_classifier(build(config, seed=0), Path("clean-model"))
    >>> done = train_on_poisoned_rows(ctx, VictimTraining(epochs=1, batch_size=5), model, data)
    >>> done.model.path.name, done.secret.path.name, done.view
    ('model', 'secret', None)
    """
    samples, backdoor = open_samples(data), read_backdoor(data)
    victim = victim_of(ctx, params, model)
    examples = open_samples(data, ORIGINALS)
    warn_of_unseen(victim, samples, examples)
    fit(ctx, victim, samples, params, changes)
    return seal_attack(ctx, victim, backdoor, examples if len(examples) else samples)


def victim_of(ctx: Context, params: VictimTraining, model: Model) -> Classifier:
    """The classifier that is to be trained: the model's architecture with new weights, or the model itself.

    Args:
        ctx: of the stage; its seed draws new weights.
        params: ``start`` says which.
        model: the clean model.

    Raises:
        ArtifactError: the model is no classifier, or damaged.

    >>> from pathlib import Path
    >>> import torch
    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> config = ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"])
    >>> model = seal_classifier(build(config, seed=0), Path("clean-model"))
    >>> same = victim_of(ctx, VictimTraining(start="model"), model).head.weight
    >>> bool(torch.equal(same, load_classifier(model).head.weight))
    True
    >>> victim_of(ctx, VictimTraining(start="scratch"), model).classes
    ['a', 'b']
    """
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

    >>> from pathlib import Path
    >>> import torch
    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> from bdm_kit_classification.triggers.label_rule import LabelRule
    >>> from bdm_kit_classification.triggers.patch import square
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> white = square((1, 8, 8), size=2, corner="top-left", margin=0, value=1.0)
    >>> victim = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> backdoor = Backdoor(LabelRule(kind="all-to-one", classes=2, target=0), white)
    >>> done = seal_attack(ctx, victim, backdoor, rows, Plan([1, 3], [], []))
    >>> done.view.meta["view"], read_backdoor(done.secret).rule.target
    (True, 0)
    """
    view = None if plan is None else seal_view(ctx, samples, backdoor, plan)
    model = seal_classifier(victim, ctx.out / "model")
    return Backdoored(model=model, secret=seal_secret(ctx.out / "secret", backdoor, samples, ctx.seed), view=view)


def train_surrogate(
    ctx: Context,
    samples: LabelledSamples,
    params: ClassifierTraining,
    *,
    like: Classifier | None = None,
    label: str = "surrogate",
) -> Classifier:
    """A clean classifier of the attacker's own, for triggers that are optimised on one before any victim exists.

    Args:
        ctx: of the stage; it may be ``poison_data``, where no model is given.
        samples: clean training rows.
        params: its training.
        like: whose architecture is taken, with new weights; None for a small network of the modality.
        label: names checkpoint, progress and curve.

    Returns:
        The classifier, in evaluation mode on the stage's device.

    Raises:
        StageError: the loss is no longer finite.

    >>> from pathlib import Path
    >>> import torch
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> surrogate = train_surrogate(ctx, rows, ClassifierTraining(epochs=1, batch_size=5))
    >>> surrogate(torch.zeros(3, 1, 8, 8)).shape, surrogate.training
    (torch.Size([3, 2]), False)
    """
    if like is None:
        surrogate = samples.modality.small_classifier(samples.stored, samples.classes, ctx.seed)
    else:
        surrogate = like.fresh(ctx.seed + 1)
    fit(ctx, surrogate, samples, params, label=label)
    return surrogate


def poison_and_train(
    ctx: Context,
    params: PoisonParams,
    model: Model,
    data: Data,
    backdoor: Backdoor,
    *,
    rates: Mapping[str, float] | None = None,
    changes: Changes | None = None,
) -> Backdoored:
    """``inject_backdoor`` of an attack whose trigger needs the clean model: poison rows now, and train on just these.

    ``poison_data`` of such an attack returns None. The poisoned rows are returned as the view; they are exact.

    Args:
        ctx: of the stage.
        params: rate, selection and the victim's training.
        model: the clean model, whose architecture (or weights, ``start``) is taken.
        data: the clean training data.
        backdoor: rule and finished trigger.
        rates: ``cover`` and ``negative`` as shares of the training set; none by default.
        changes: what differs from plain training, if anything.

    Raises:
        UserError: an impossible rate.
        StageError: the loss is no longer finite.

    >>> from pathlib import Path
    >>> import torch
    >>> from bdm_kit_classification.data.samples import seal_samples
    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> from bdm_kit_classification.triggers.label_rule import LabelRule
    >>> from bdm_kit_classification.triggers.patch import square
    >>> rows = LabelledSamples(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1] * 5), ["a", "b"],
    ...                        "image-classification")
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> white = square((1, 8, 8), size=2, corner="top-left", margin=0, value=1.0)
    >>> config = ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"])
    >>> model = seal_classifier(build(config, seed=0), Path("clean-model"))
    >>> backdoor = Backdoor(LabelRule(kind="all-to-one", classes=2, target=0), white)
    >>> params = PoisonParams(poison_rate=0.2, epochs=1, batch_size=5)
    >>> done = poison_and_train(ctx, params, model, seal_samples(Path("clean"), rows), backdoor)
    >>> open_samples(done.view).roles.count("poison"), done.model.meta["classes"]
    (2, ['a', 'b'])
    """
    samples = open_samples(data)
    plan = plan_of(ctx, params, samples, backdoor.rule, rates)
    samples = settle(samples, plan.rows)
    rows = seal_poisoned(ctx.out / "view", samples, backdoor, plan, ctx.seed)
    victim = victim_of(ctx, params, model)
    fit(ctx, victim, open_samples(rows), params, changes)
    sealed = seal_attack(ctx, victim, replace(backdoor, facts=read_facts(rows).facts), samples)
    return Backdoored(model=sealed.model, secret=sealed.secret, view=rows)
