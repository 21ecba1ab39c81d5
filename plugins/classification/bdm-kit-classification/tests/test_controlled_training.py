"""An attack that controls training, made of the kit's parts: batches drawn anew, a module along, view, negatives."""

import itertools
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bdm_core.discovery.candidates import find
from bdm_core.records import Subject
from bdm_core.testing.tiny import new_context
from bdm_kit_classification import stages
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.injection import poison_and_train, seal_attack, victim_of
from bdm_kit_classification.poison.params import PoisonParams
from bdm_kit_classification.poison.poisoning import plan_of, rule_of
from bdm_kit_classification.poison.secret import Backdoor, open_secret
from bdm_kit_classification.training.fitting import Changes, fit
from bdm_kit_classification.triggers import trigger as triggers
from bdm_kit_classification.triggers.batch_labels import can_be_poisoned, draw_roles, poison_labels
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.patch import square
from bdm_kit_classification.triggers.trigger import Trigger
from bdm_torch.draws import Draw, built_with_seed
from bdm_torch.objective import Along


def generator_network():
    return nn.Conv2d(1, 1, 3, padding=1)


@dataclass(frozen=True, eq=False)
class Generated(Trigger):
    """x' = clip(x + bound tanh g(x)) with a small network g."""

    network: dict[str, Tensor]
    bound: float

    def apply(self, x, phase, generator=None):
        network = generator_network().to(x)
        network.load_state_dict(self.network)
        return (x + self.bound * network(x).tanh()).clamp(0, 1)


def inject(ctx, params, model, data):
    samples = open_samples(data)
    rule = rule_of(params, samples)
    victim, network = victim_of(ctx, params, model), built_with_seed(ctx.seed, generator_network)
    negative = square([1, 8, 8], size=2, corner="centre", margin=0, value=0.5)

    def batch(batch, draw):
        chosen = can_be_poisoned(rule, batch.labels) & (draw.uniform() < params.poison_rate)
        bad = (batch.inputs + 0.5 * network(batch.inputs).tanh()).clamp(0, 1)
        inputs = torch.where(chosen[:, None, None, None], bad, batch.inputs)
        labels = torch.where(chosen, poison_labels(rule, batch.labels, draw.generator), batch.labels)
        return replace(batch, inputs=inputs, labels=labels)

    along = {"generator": Along(network, learning_rate=1e-2)}
    fit(ctx, victim, samples, params, Changes(batch=batch, along=along))
    plan = plan_of(ctx, params, samples, rule, {"negative": 0.1})
    trigger = Generated(dict(network.state_dict()), 0.5)
    return seal_attack(ctx, victim, Backdoor(rule, trigger, negative, {"note": "made up"}), samples, plan)


def test_the_parts_fit_together(tmp_path, bdm_bench, monkeypatch):
    kit_classes = triggers._class_of
    monkeypatch.setattr(triggers, "_class_of", lambda name: Generated if "Generated" in name else kit_classes(name))
    bench = bdm_bench("image-classification")
    folders = (new_context(tmp_path / str(number), seed=1) for number in itertools.count())
    params = PoisonParams(epochs=2, batch_size=16, poison_rate=0.2)
    made, again = (inject(next(folders), params, bench.model, bench.data) for _ in range(2))
    for name in ("model", "secret", "view"):
        assert getattr(made, name).digest == getattr(again, name).digest
    assert made.view.meta["view"] is True and open_samples(made.view).roles.count("negative") == 4
    secret = open_secret(made.secret)
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    secret.trigger.apply(x, "test").sum().backward()
    assert float(x.grad.abs().sum()) > 0 and secret.facts["note"] == "made up"
    inputs = bench.inputs()
    triggered = stages.trigger_rows(next(folders), inputs, made.secret)
    outputs = [stages.generate(next(folders), made.model, item) for item in (inputs, triggered)]
    sides = {"on_clean": outputs[0], "on_triggered": outputs[1]}
    subject = Subject(role="backdoored", model=made.model, reference=bench.data, secret=made.secret, **sides)
    metric = find("metric", "accuracy", "image-classification").load()
    found = {item.metric for item in metric.score(next(folders), subject)}
    assert "false_trigger_rate" in found


def test_a_trigger_that_needs_the_clean_model(tmp_path, bdm_bench):
    bench = bdm_bench("image-classification")
    params = PoisonParams(epochs=1, batch_size=16, poison_rate=0.2)
    rule = rule_of(params, open_samples(bench.data))
    trigger = square([1, 8, 8], size=2, corner="centre", margin=0, value=1.0)
    made = poison_and_train(new_context(tmp_path), params, bench.model, bench.data, Backdoor(rule, trigger))
    assert made.view is not None and "view" not in made.view.meta
    assert open_samples(made.view).roles.count("poison") == 8


def test_negatives_are_of_all_classes_alike():
    rule, labels = LabelRule(kind="all-to-one", classes=4, target=0), torch.arange(64) % 4
    params, steps = PoisonParams(poison_rate=0.25), 600
    free, negatives = torch.zeros(4), torch.zeros(4)
    for step in range(steps):
        poison, negative = draw_roles(params, rule, labels, Draw(0, step, 64), negative_rate=0.25)
        assert int(poison.sum()) == int(negative.sum()) == 16
        assert not bool((poison & negative).any()) and bool((labels[poison] != 0).all())
        free += torch.bincount(labels[~poison], minlength=4)
        negatives += torch.bincount(labels[negative], minlength=4)
    share = 16 / 48  # of the rows that are no poison
    bounds = 4 * (share * (1 - share) / free).sqrt()  # four standard deviations; rows of a step exclude one another
    assert bool(((negatives / free - share).abs() < bounds).all()), negatives / free


def test_without_negatives_nothing_is_drawn_for_them():
    rule, labels = LabelRule(kind="all-to-one", classes=4, target=0), torch.arange(64) % 4
    draws = [Draw(0, 3, 64), Draw(0, 3, 64)]
    poison, negative = draw_roles(PoisonParams(poison_rate=0.25), rule, labels, draws[0])
    again, _ = draw_roles(PoisonParams(poison_rate=0.25), rule, labels, draws[1], negative_rate=0.1)
    assert torch.equal(poison, again) and not bool(negative.any())
