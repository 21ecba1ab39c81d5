"""The training loop's callables, and that a killed training ends with the same bits."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.built_in_data import load_builtin
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import build, normalised
from bdm_kit_classification.training.fitting import Batch, Changes, accuracy, fit
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_kit_classification.training.recorder import LossRecorder
from bdm_torch import training
from bdm_torch.objective import Along

PARAMS = ClassifierTraining(epochs=3, batch_size=20)


@pytest.fixture
def samples():
    pictures, labels = load_builtin("digits").training
    return LabelledSamples(pictures[:60], labels[:60], [str(n) for n in range(10)], "image-classification")


@pytest.fixture
def classifier(samples):
    return build(normalised(samples.stored, samples.classes, width=4), seed=0)


def weights(module):
    return torch.cat([value.flatten().float() for value in module.state_dict().values()])


def test_training_learns(tmp_path, samples, classifier):
    fit(new_context(tmp_path), classifier, samples, ClassifierTraining(epochs=40, batch_size=20, shift=1))
    assert accuracy(classifier, samples) > 0.8


@pytest.mark.parametrize("rows", [41, 21, 3])
def test_no_step_has_a_batch_of_one(tmp_path, samples, classifier, rows):
    """Batch normalisation cannot take one; rows that are left over go on with the next epoch's."""
    sizes = []

    def noting(batch, draw):
        sizes.append(len(batch.rows))
        return batch

    fit(new_context(tmp_path), classifier, samples.pick(range(rows)), PARAMS, Changes(batch=noting))
    assert set(sizes) == {20} and len(sizes) == PARAMS.steps(rows)


def test_recorder_has_every_loss(tmp_path, samples, classifier):
    recorder = LossRecorder(epochs=3, rows=60)
    fit(new_context(tmp_path), classifier, samples, PARAMS, Changes(recorder=recorder))
    assert bool(recorder.losses.isfinite().all())
    assert recorder.losses[2].mean() < recorder.losses[0].mean()


def test_recorder_tells_epochs_apart_within_a_batch(tmp_path, samples, classifier):
    """50 rows in batches of 20: the third ends one epoch and begins the next."""
    recorder = LossRecorder(epochs=2, rows=50)
    rows = samples.pick(list(range(50)))
    fit(
        new_context(tmp_path), classifier, rows, ClassifierTraining(epochs=2, batch_size=20), Changes(recorder=recorder)
    )
    assert bool(recorder.losses.isfinite().all())


def test_batch_and_loss_are_changed(tmp_path, samples, classifier):
    seen = []

    def to_class_three(batch, draw):
        assert batch.inputs.shape == (20, 1, 8, 8) and 0 <= float(batch.inputs.min()) <= float(batch.inputs.max()) <= 1
        assert torch.equal(samples.labels[batch.rows], batch.labels)
        return Batch(batch.inputs, torch.full_like(batch.labels, 3), batch.rows)

    def loss(model, batch, draw):
        seen.append(batch.labels)
        return functional.cross_entropy(model(batch.inputs), batch.labels)

    params = ClassifierTraining(epochs=20, batch_size=20)
    fit(new_context(tmp_path), classifier, samples, params, Changes(batch=to_class_three, loss=loss))
    assert len(seen) == 60 and set(torch.cat(seen).tolist()) == {3}
    with torch.no_grad():
        assert bool((classifier(samples.raw()).argmax(1) == 3).all())


def test_a_killed_training_ends_with_the_same_bits(tmp_path, samples, monkeypatch):
    """With a module trained along, a step of its own, a projection, and a recorder."""

    def run(ctx, stop_at=None):
        classifier = build(normalised(samples.stored, samples.classes, width=4), seed=0)
        other, recorder, count = torch.nn.Linear(10, 1), LossRecorder(3, 60), torch.zeros(1)
        torch.nn.init.constant_(other.weight, 0.1)
        torch.nn.init.zeros_(other.bias)

        def loss(model, batch, draw):
            logits = model(batch.inputs + 0.01 * draw.normal(1, 8, 8))
            each = functional.cross_entropy(logits, batch.labels, reduction="none")
            recorder.record(draw.step // 3, batch.rows, each)
            return each.mean() + (other(logits.detach()) - 1).square().mean()

        def twice(step):  # sharpness-aware: the gradient at a point uphill
            step.backward()
            with torch.no_grad():
                moved = [0.01 * parameter.grad for parameter in step.parameters]
                for parameter, move in zip(step.parameters, moved, strict=True):
                    parameter += move
            step.clear()
            value = step.backward()
            with torch.no_grad():
                for parameter, move in zip(step.parameters, moved, strict=True):
                    parameter -= move
            step.optimise()
            return value

        def project(number):
            count.add_(1)
            if number == stop_at:
                raise KeyboardInterrupt
            with torch.no_grad():
                other.weight.clamp_(-0.5, 0.5)

        changes = Changes(
            loss=loss,
            along={"other": Along(other, learning_rate=0.05)},
            step=twice,
            after_step=project,
            state={"count": count, "losses": recorder.losses},
        )
        params = ClassifierTraining(epochs=3, batch_size=20)
        result = fit(ctx, classifier, samples, params, changes)
        return result, torch.cat([weights(classifier), weights(other), recorder.losses.flatten(), count])

    straight, expected = run(new_context(tmp_path / "straight"))
    clock = itertools.count(step=100)
    monkeypatch.setattr(training, "SYNCHRONISE_EVERY", 2)
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    ctx = new_context(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        run(ctx, stop_at=5)
    result, found = run(ctx)
    assert straight.resumed_from == 0 < result.resumed_from < 9
    assert torch.equal(found, expected)


def test_evaluation_mode_keeps_the_statistics(tmp_path, samples, classifier):
    before = {name: norm.running_mean.clone() for name, norm in classifier.norms().items()}
    fit(new_context(tmp_path), classifier, samples, PARAMS, Changes(evaluation_mode=True))
    assert all(torch.equal(norm.running_mean, before[name]) for name, norm in classifier.norms().items())
