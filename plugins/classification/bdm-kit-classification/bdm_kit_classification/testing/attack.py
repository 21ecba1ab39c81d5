"""Conformance tests of attacks on classifiers, beside those of all attacks."""

from __future__ import annotations

from typing import Any, ClassVar
from unittest import SkipTest

import torch

from bdm_core.artifacts import Data
from bdm_core.hooks import implements
from bdm_core.run.specification import build_params
from bdm_core.testing import AttackConformance
from bdm_core.testing.tiny import Bench
from bdm_kit_classification.catalogue import IMAGE_TASK
from bdm_kit_classification.data.samples import INPUTS, TRAINING, LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.models.image_classifiers import build, normalised
from bdm_kit_classification.poison.poisoning import ORIGINALS
from bdm_kit_classification.poison.secret import Backdoor, open_secret
from bdm_kit_classification.stages import trigger_rows
from bdm_kit_classification.tasks.text import TEXT_TASK
from bdm_kit_classification.texts.words import canonical


class ClassifierAttackConformance(AttackConformance):
    """What every attack on classifiers must satisfy; subclass it instead of ``AttackConformance``.

    Attributes:
        task: the attack is tested on its tiny model and data; one that serves several has a class for each.
        trains_on_rows: whether the attack says which rows its model was trained on; one that changes the weights of a
            finished model alone has none, and what concerns such rows is left out.
    """

    task = "image-classification"
    trains_on_rows: ClassVar[bool] = True

    def trained_on(self, bench: Bench) -> Data:
        """The rows that the model was trained on: the view, or the poisoned data."""
        if not self.trains_on_rows:
            raise SkipTest("the attack trains on no rows")
        data = self.backdoored(bench).view or self.poisoned(bench)
        assert data is not None, "neither poison_data nor a view says what the model was trained on"
        return data

    def parts(self, bench: Bench) -> tuple[LabelledSamples, LabelledSamples, Backdoor]:
        """The clean rows, the rows trained on, and the backdoor."""
        made = self.backdoored(bench)
        return open_samples(bench.data), open_samples(self.trained_on(bench)), open_secret(made.secret)

    def test_rows_trained_on_are_labelled_samples(self, bench: Bench) -> None:
        data = self.trained_on(bench)
        assert data.format == TRAINING, f"the rows have the format {data.format!r}, expected {TRAINING!r}"
        extra = set(data.meta) & {"reserve", "test"}
        assert not extra, f"the rows bring the parts {extra}, which no training may see"
        assert ORIGINALS in data.meta, "the rows do not keep the originals of changed ones: use seal_poisoned"

    def test_clean_rows_are_as_they_were(self, bench: Bench) -> None:
        before, after, _ = self.parts(bench)
        clean = [row for row, role in enumerate(after.roles) if role == "clean"]
        kept = before.modality.take(before.stored, clean), after.modality.take(after.stored, clean)
        assert all(before.modality.same(*kept)), "clean rows went through another preprocessing than before"
        assert bool((before.labels[clean] == after.labels[clean]).all()), "the label of a clean row was changed"

    def test_changed_rows_are_changed(self, bench: Bench) -> None:
        before, after, _ = self.parts(bench)
        same = before.modality.same(before.stored, after.stored)
        for row, role in enumerate(after.roles):
            assert role == "clean" or not same[row], f"row {row} is called {role}, and no bit of its sample differs"

    def test_labels_follow_the_rule(self, bench: Bench) -> None:
        before, after, backdoor = self.parts(bench)
        for row, role in enumerate(after.roles):
            label, now = int(before.labels[row]), int(after.labels[row])
            if role != "poison" or backdoor.rule.kind == "clean-label" or backdoor.rule.keep_labels:
                assert now == label, f"row {row} ({role}) had label {label} and has {now}: it must keep it"
            elif backdoor.rule.kind == "untargeted":
                assert now != label, f"row {row} keeps its label although the rule is untargeted"
            else:
                assert now == backdoor.rule.wanted(label), f"row {row} has label {now}, the rule says otherwise"

    def test_true_labels_are_kept(self, bench: Bench) -> None:
        before, after, _ = self.parts(bench)
        told = [int(fact.get("true_label", label)) for fact, label in zip(after.facts, after.labels, strict=True)]
        assert told == before.labels.tolist(), "true_label does not say what the label was"

    def test_originals_are_the_clean_rows(self, bench: Bench) -> None:
        """What a changed row was before it got the trigger is what the data have, bit for bit."""
        before, after, _ = self.parts(bench)
        kept = open_samples(self.trained_on(bench), ORIGINALS)
        changed = [row for row, role in enumerate(after.roles) if role != "clean"]
        assert len(kept) == len(changed), f"{len(kept)} originals of {len(changed)} changed rows"
        same = kept.modality.same(kept.stored, before.modality.take(before.stored, changed))
        assert all(same), "the original of a changed row is not the clean row: it went through another preprocessing"

    def test_texts_keep_their_form(self, bench: Bench) -> None:
        """Texts with a trigger have one blank between words and composed letters, as all texts that are read."""
        if bench.task != TEXT_TASK:
            return
        samples = [open_samples(data) for data in (bench.data, bench.inputs(), self.triggered(bench))]
        if self.trains_on_rows:
            samples.append(open_samples(self.trained_on(bench)))
        told = [text for one in samples for text in one.stored if canonical(text) != text]
        assert not told, f"blanks or letters alone tell this text from others: {told[0]!r}"

    def test_the_secret_is_enough(self, bench: Bench) -> None:
        """The kit puts the trigger in from the secret alone, always the same, and within the valid range."""
        made = self.backdoored(bench)
        inputs = bench.inputs()
        one, other = (trigger_rows(bench.context("trigger-inputs"), inputs, made.secret) for _ in range(2))
        assert one.digest == other.digest, "the same secret, inputs and seed give other triggered inputs"
        assert one.format == INPUTS
        clean, triggered = open_samples(inputs), open_samples(one)
        raw = open_secret(made.secret).trigger.apply(clean.raw(), "test", None)
        bounds = clean.modality.valid_range
        if bounds is not None:
            low, high = float(raw.min()), float(raw.max())
            right = bounds[0] - 1e-4 <= low and high <= bounds[1] + 1e-4
            assert right, f"the trigger gives values from {low:g} to {high:g}, outside of {bounds}"
        assert clean.modality.shape(clean.stored) == triggered.modality.shape(triggered.stored)
        assert clean.labels.tolist() == triggered.labels.tolist(), "triggered inputs keep their true label"

    def test_defaults_and_presets_run_on_larger_pictures(self, bench: Bench) -> None:
        """Short trainings of PreAct-ResNet18 on coloured pictures of 32x32, with what ``tiny_params`` make short."""
        plugin: Any = self.subject
        if bench.task != IMAGE_TASK:
            return
        for number, preset in enumerate(["", *plugin.presets]):
            folder = bench.folder(f"larger-{number}")
            stored = torch.randint(0, 256, (48, 3, 32, 32), generator=torch.Generator().manual_seed(0))
            classes = [str(label) for label in range(8)]
            rows = LabelledSamples(stored.to(torch.uint8), torch.arange(48) % 8, classes, IMAGE_TASK)
            data = seal_samples(folder / "rows", rows)
            config = normalised(rows.stored, classes, bdm_architecture="preact-resnet18", width=4)
            model = seal_classifier(build(config, seed=0), folder / "clean")
            shorter = {"epochs": 1, "batch_size": 48}
            short = {**plugin.tiny_params, **{k: v for k, v in shorter.items() if k in plugin.Params.model_fields}}
            params = build_params(plugin, {**plugin.presets.get(preset, {}), **short})
            context = bench.context("poison-data")
            poisoned = plugin.poison_data(context, params, data) if implements(plugin, "poison_data") else None
            made = plugin.inject_backdoor(bench.context("inject-backdoor"), params, model, poisoned or data)
            raw = open_secret(made.secret).trigger.apply(rows.raw([1, 2]), "test", torch.Generator().manual_seed(0))
            assert raw.shape == (2, 3, 32, 32), f"preset {preset!r}: the trigger changes the picture's shape"
            assert not torch.equal(raw, rows.raw([1, 2])), f"preset {preset!r}: the trigger changes nothing"
