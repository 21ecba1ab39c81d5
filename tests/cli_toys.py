"""Plugins of a task without numerics: a model is a text file, a backdoor a word in it. CLI tests install this file."""

from __future__ import annotations

from pathlib import Path

from bdm_core.artifacts import Data, Model, Outputs, Secret
from bdm_core.plugin import Field, Params, Plugin, hookimpl
from bdm_core.records import Backdoored, Detection, Measurement

TASK = "toy-task"


def sealed(cls, ctx, folder, text, **meta):
    path = ctx.out / folder
    path.mkdir()
    (path / "content.txt").write_text(text)
    return cls.seal(path, format="text", task=TASK, meta=meta)


def text_of(artifact):
    return artifact.file("content.txt").read_text()


class Kit(Plugin):
    kind, name = "kit", "toytask"
    tasks = frozenset({TASK})
    default_metrics = ("toyhit",)

    @hookimpl
    def open_model(self, ctx, reference):
        return sealed(Model, ctx, "model", "clean" if reference is None else Path(reference, "content.txt").read_text())

    @hookimpl
    def open_data(self, ctx, reference):
        return sealed(Data, ctx, "data", "data", count=4)

    @hookimpl
    def share_data(self, ctx, data, share):
        return sealed(Data, ctx, "data", f"{share}", count=1)

    @hookimpl
    def make_inputs(self, ctx, model, data):
        return sealed(Data, ctx, "data", "inputs", count=2)

    @hookimpl
    def mix_inputs(self, ctx, clean, triggered, order):
        return sealed(Data, ctx, "data", f"{order}", count=4)

    @hookimpl
    def generate(self, ctx, model, inputs, secret):
        ctx.progress("sample", 2, 2)
        hit = "backdoor" in text_of(model) and "trigger" in text_of(inputs)
        return sealed(Outputs, ctx, "outputs", "target" if hit else "picture", count=2)


class AttackParams(Params):
    strength: float = Field(0.5, ge=0, le=1, description="How strong the toy backdoor is.")
    word: str = Field("hat", description="What the toy target is called.")


class Attack(Plugin):
    kind, name = "attack", "toyword"
    summary = "Writes a word into a text file"
    tasks = frozenset({TASK})
    paper = "https://example.org/toy"
    Params = AttackParams
    presets = {"strong": {"strength": 1.0}}

    @hookimpl
    def poison_data(self, ctx, params, data, split):
        return sealed(Data, ctx, "data", "trigger" if split == "trigger" else "poison", count=2)

    @hookimpl
    def inject_backdoor(self, ctx, params, model, data):
        ctx.log.warning("toy backdoors fool nobody")
        backdoored = sealed(Model, ctx, "model", "backdoor")
        return Backdoored(model=backdoored, secret=sealed(Secret, ctx, "secret", params.word))


class Defense(Plugin):
    kind, name = "defense", "toylook"
    summary = "Looks for the word"
    tasks = frozenset({TASK})

    @hookimpl
    def detect(self, model):
        found = "backdoor" in text_of(model)
        return Detection(level="model", scores=[1.0 if found else 0.0], threshold=0.5, p_value=0.01 if found else 0.9)

    @hookimpl
    def repair(self, ctx, model):
        return sealed(Model, ctx, "model", "repaired")


class Metric(Plugin):
    kind, name = "metric", "toyhit"

    @hookimpl
    def score(self, subject):
        hit = 1.0 if text_of(subject.on_triggered) == "target" else 0.0
        leak = 1.0 if text_of(subject.on_clean) == "target" else 0.0
        return [
            Measurement(metric="asr", value=hit, on="triggered", higher_is_better=False, stderr=0.0, label="ASR"),
            Measurement(metric="leak", value=leak, on="clean", higher_is_better=False, label="leak"),
        ]
