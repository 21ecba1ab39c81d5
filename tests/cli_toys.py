"""Plugins of a task without numerics: a model is a text file, a backdoor a word in it. CLI tests install this file."""

from __future__ import annotations

import json
from pathlib import Path

from bdm_core import (
    Attack,
    Backdoored,
    BuiltIn,
    Data,
    Defense,
    Detection,
    Field,
    Kit,
    Measurement,
    Metric,
    Model,
    Outputs,
    Params,
    Purified,
    Secret,
    UserError,
    hookimpl,
)

TASK = "toy-task"
BUILT_IN = {None: "clean", "honest": "clean", "spoilt": "backdoor"}


def sealed(cls, ctx, folder, text, **meta):
    path = ctx.out / folder
    path.mkdir()
    (path / "content.txt").write_text(text)
    return cls.seal(path, format="text", task=TASK, meta=meta)


def text_of(artifact):
    return artifact.file("content.txt").read_text()


class ToyKit(Kit):
    name = "toytask"
    tasks = frozenset({TASK})
    default_metrics = ("toyhit",)

    def models(self):
        return [
            BuiltIn(name="honest", task=TASK, summary="A clean text", size="5 letters", quality="perfect"),
            BuiltIn(name="spoilt", task=TASK, summary="A backdoored text", size="8 letters", quality="doubtful"),
        ]

    def data_sets(self):
        return [BuiltIn(name="words", task=TASK, summary="Some words", size="4 words")]

    def task_of(self, folder):
        return TASK if (folder / "content.txt").is_file() else None

    @hookimpl
    def open_model(self, ctx, reference):
        if reference in BUILT_IN:
            return sealed(Model, ctx, "model", BUILT_IN[reference])
        path = Path(reference, "content.txt")
        if not path.is_file():
            raise UserError(f"{reference} is no toy model: it has no content.txt")
        return sealed(Model, ctx, "model", path.read_text())

    @hookimpl
    def open_data(self, ctx, reference):
        return sealed(Data, ctx, "data", "data", count=4)

    @hookimpl
    def select_rows(self, ctx, sources, rows, blind):
        return sealed(Data, ctx, "data", f"{text_of(sources[-1])} {len(rows)}", count=len(rows))

    @hookimpl
    def make_inputs(self, ctx, model, data):
        return sealed(Data, ctx, "data", "inputs", count=2)

    @hookimpl
    def trigger_inputs(self, ctx, inputs, secret):
        return sealed(Data, ctx, "data", "trigger", count=2)

    @hookimpl
    def generate(self, ctx, model, inputs, secret):
        ctx.progress("sample", 2, 2)
        hit = "backdoor" in text_of(model) and "trigger" in text_of(inputs)
        return sealed(Outputs, ctx, "outputs", "target" if hit else "picture", count=inputs.meta["count"])


class AttackParams(Params):
    poison_rate: float = Field(0.5, ge=0, le=1, description="Share of the words that become the toy target.")
    word: str = Field("hat", description="What the toy target is called.")


class ToyAttack(Attack):
    name = "toyword"
    summary = "Writes a word into a text file"
    tasks = frozenset({TASK})
    paper = "https://example.org/toy"
    Params = AttackParams
    presets = {"strong": {"poison_rate": 1.0}}

    @hookimpl
    def poison_data(self, ctx, params, data):
        return sealed(Data, ctx, "data", "poison", count=4)

    @hookimpl
    def inject_backdoor(self, ctx, params, model, data):
        ctx.log.warning("toy backdoors fool nobody")
        backdoored = sealed(Model, ctx, "model", "backdoor")
        return Backdoored(model=backdoored, secret=sealed(Secret, ctx, "secret", params.word))


class LookParams(Params):
    word: str = Field("backdoor", description="The word to look for.", calibrated=True)
    patience: int = Field(3, ge=1, description="How long to look.", stages=["detect"])


class Look(Defense):
    name = "toylook"
    least_clean_models = 2
    summary = "Looks for the word"
    tasks = frozenset({TASK})
    Params = LookParams

    @hookimpl
    def detect(self, params, model):
        found = params.word in text_of(model)
        return Detection(level="model", scores=[1.0 if found else 0.0], threshold=0.5, p_value=0.01 if found else 0.9)

    @hookimpl
    def repair(self, ctx, model):
        return sealed(Model, ctx, "model", "repaired")

    def calibrate(self, ctx, params, models, out):
        ctx.progress("look", 1, 2)
        values = {name: len(text_of(model)) for name, model in models.items()}
        print("calibrating")
        out.write_text(json.dumps({"word": params.word, "seed": ctx.seed >= 0, "models": values}))


class Shrug(Defense):
    name = "toyshrug"
    summary = "Cannot tell"
    tasks = frozenset({TASK})
    access = frozenset({"weights"})

    @hookimpl
    def detect(self, model):
        note = "the text is too short"
        return Detection(level="model", scores=[0.0], threshold=0.5, conclusive=False, note=note)


class Sieve(Defense):
    name = "toysieve"
    summary = "Takes triggers out of inputs"
    tasks = frozenset({TASK})
    level = "input"

    @hookimpl
    def purify_inputs(self, ctx, inputs):
        return Purified(inputs=sealed(Data, ctx, "data", "purified", count=2), rejected=[False, False])


class ToyMetric(Metric):
    name = "toyhit"

    @hookimpl
    def score(self, subject):
        hit = 1.0 if text_of(subject.on_triggered) == "target" else 0.0
        leak = 1.0 if text_of(subject.on_clean) == "target" else 0.0
        return [
            Measurement(
                metric="asr",
                value=hit,
                on="triggered",
                higher_is_better=False,
                stderr=0.0,
                label="ASR",
                measures="attack-success",
            ),
            Measurement(metric="leak", value=leak, on="clean", higher_is_better=False, label="leak"),
        ]
