"""LIRA (Doan et al. 2021, ICCV): T(x) = clip(x + epsilon g(x)) with a generator g that is trained with the classifier.

Stage 1 trains g and a classifier together (Algorithm 1); stage 2 fixes g and trains a new classifier, the victim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_lira.params import LiraParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.injection import seal_attack, victim_of
from bdm_kit_classification.poison.poisoning import plan_of, rule_of
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.training.fitting import Batch, BatchLoss, Changes, fit
from bdm_kit_classification.triggers.batch_labels import can_be_poisoned, poison_labels
from bdm_kit_classification.triggers.generators import frozen_state, network_of, new_network
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import Phase, Trigger
from bdm_torch.draws import Draw
from bdm_torch.objective import Along


def perturbed(generator: nn.Module, x: Tensor, bound: float) -> Tensor:
    """T(x) = clip(x + epsilon tanh(g(x))) to [0, 1] (equation 4)."""
    return (x + bound * generator(x).tanh()).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Learnt(Trigger):
    """T(x) = clip(x + epsilon tanh(g(x))).

    Attributes:
        network: state of the generator.
        bound: epsilon.
    """

    network: dict[str, Tensor]
    bound: float

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        return perturbed(network_of(self.network, x), x, self.bound)


def lira_loss(rule: LabelRule, trigger: Callable[[Tensor], Tensor], params: LiraParams) -> BatchLoss:
    """alpha CE(f(x), y) + (1 - alpha) CE(f(T(x)), t) (equation 3), both in one forward pass.

    One pass, so that batch normalisation sees clean and triggered pictures alike. Its gradient with respect to the
    generator is that of the second term alone, so that one step of both is the alternation with equal numbers of steps.
    """

    def loss(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        bad = can_be_poisoned(rule, batch.labels)
        inputs = torch.cat([batch.inputs, trigger(batch.inputs[bad])])
        labels = poison_labels(rule, batch.labels[bad], draw.generator)
        logits, count = model(inputs), len(batch.inputs)
        clean = functional.cross_entropy(logits[:count], batch.labels, label_smoothing=params.label_smoothing)
        if not len(labels):
            return params.clean_weight * clean
        triggered = functional.cross_entropy(logits[count:], labels, label_smoothing=params.label_smoothing)
        return params.clean_weight * clean + (1 - params.clean_weight) * triggered

    return loss


def inject(ctx: Context, params: LiraParams, model: Model, data: Data) -> Backdoored:
    """Both stages; the model returned is that of stage 2.

    Raises:
        UserError: no such class, or an impossible rate.
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule)
    channels = samples.stored.shape[1]
    generator = new_network(ctx.seed, channels, channels, params.width)
    first = load_classifier(model).fresh(ctx.seed + 1)
    joint = params.model_copy(update={"epochs": params.joint_epochs})
    learn = lira_loss(rule, lambda x: perturbed(generator, x, params.bound), params)
    along = {"generator": Along(generator, params.generator_rate)}
    fit(ctx, first, samples, joint, Changes(loss=learn, along=along), label="joint")
    trigger = Learnt(frozen_state(generator), params.bound)
    victim = victim_of(ctx, params, model)
    keep = lira_loss(rule, lambda x: trigger.apply(x, "train"), params)
    fit(ctx, victim, samples, params, Changes(loss=keep))
    return seal_attack(ctx, victim, Backdoor(rule, trigger), samples, plan)
