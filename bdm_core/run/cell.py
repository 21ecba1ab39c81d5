"""The stages of one cell: poison, clean samples, backdoor, its samples, detection, repair, scores."""

from __future__ import annotations

import random
from typing import Any

import pluggy

from bdm_core import hooks
from bdm_core.artifacts import Backdoored, Data, Detection, Measurement, Model, Outputs, Subject, verify_if_sealed
from bdm_core.context import Context
from bdm_core.errors import PluginError
from bdm_core.files import content_of
from bdm_core.hooks import implements
from bdm_core.plugin import Params
from bdm_core.run.preparation import Loaded, Prepared
from bdm_core.run.record import RunFolder
from bdm_core.run.specification import stage_seed
from bdm_core.run.stages import StageRunner


def run_cell(cell: Prepared, stages: StageRunner, folder: RunFolder) -> dict[str, Detection]:
    kit, attack = cell.kit, cell.attack
    assert attack is not None
    model, data, inputs = _open(cell, stages)
    poisoned: Data | None = None
    if implements(attack.plugin, "poison_data"):  # first, since it is fast and finds what is wrong with the attack
        arguments = {"data": data, "split": "train", "secret": None}
        poisoned = stages.run("poison-data", [attack], arguments, hooks.poison_data, label="poisoned data")
    clean_on_clean = _generate(stages, [kit], model, inputs, None, "clean samples")
    made: Backdoored = stages.run(
        "inject-backdoor", [attack], {"model": model, "data": poisoned or data}, hooks.inject_backdoor,
        label="backdoored model",
    )  # fmt: skip
    to_trigger = _inputs_to_trigger(cell, stages, inputs)
    triggered: Data = stages.run(
        "trigger-inputs", [attack], {"data": to_trigger, "split": "trigger", "secret": made.secret}, hooks.poison_data,
        label="triggered inputs",
    )  # fmt: skip
    askers = [attack, kit] if implements(attack.plugin, "generate") else [kit]

    def under_trigger(subject: Model, label: str) -> Outputs:
        return _generate(stages, askers, subject, triggered, made.secret, label)

    clean_on_triggered = under_trigger(model, "clean samples under trigger")
    on_clean = _generate(stages, [kit], made.model, inputs, None, "backdoored samples")
    on_triggered = under_trigger(made.model, "backdoored samples under trigger")
    detections: dict[str, Detection] = {}
    labels: list[bool] = []
    defended: Data | None = None
    if cell.detector or cell.repairer:
        defended = _defenders_data(cell, stages, data)
    if cell.detector and defended and implements(cell.detector.plugin, "detect"):
        suspects, labels = _suspects(cell, stages, inputs, triggered)
        detections["backdoored"] = _detect(cell, stages, made.model, defended, suspects, "detection")
        if cell.spec.scan_clean:
            detections["clean"] = _detect(cell, stages, model, defended, suspects, "detection on clean model")
    subjects = {
        "clean": Subject(role="clean", model=model, on_clean=clean_on_clean, on_triggered=clean_on_triggered,
                         reference=data, secret=made.secret, detection=detections.get("clean"), suspects=labels),
        "backdoored": Subject(role="backdoored", model=made.model, on_clean=on_clean, on_triggered=on_triggered,
                              reference=data, secret=made.secret, detection=detections.get("backdoored"),
                              suspects=labels),
    }  # fmt: skip
    if cell.repairer and defended and implements(cell.repairer.plugin, "repair"):
        given = {"model": made.model, "data": defended, "detection": detections.get("backdoored")}
        repaired: Model = stages.run("repair", [cell.repairer], given, hooks.repair, label="repaired model")
        subjects["repaired"] = Subject(
            role="repaired",
            model=repaired,
            on_clean=_generate(stages, [kit], repaired, inputs, None, "repaired samples"),
            on_triggered=under_trigger(repaired, "repaired samples under trigger"),
            reference=data,
            secret=made.secret,
        )
    for role, subject in subjects.items():
        _score(cell, stages, folder, role, subject)
    return detections


def scan_model(cell: Prepared, stages: StageRunner, folder: RunFolder) -> dict[str, Detection]:
    assert cell.detector is not None
    model, data, inputs = _open(cell, stages)
    defended = _defenders_data(cell, stages, data)
    return {"model": _detect(cell, stages, model, defended, inputs, "detection")}


def _open(cell: Prepared, stages: StageRunner) -> tuple[Model, Data, Data]:
    kit, spec = cell.kit, cell.spec
    for reference in (spec.model, spec.data):
        verify_if_sealed(reference)
    model: Model = stages.run(
        "open-model", [kit], {"reference": spec.model}, hooks.open_model, label="model",
        identity={"reference": content_of(spec.model)},
    )  # fmt: skip
    data: Data = stages.run(
        "open-data", [kit], {"model": model, "reference": spec.data}, hooks.open_data, label="data",
        identity={"reference": content_of(spec.data)},
    )  # fmt: skip
    inputs: Data = stages.run("make-inputs", [kit], {"model": model, "data": data}, hooks.make_inputs, label="inputs")
    return model, data, inputs


def _inputs_to_trigger(cell: Prepared, stages: StageRunner, inputs: Data) -> Data:
    """The clean inputs that also get the trigger: the first rows, as many as ``triggered_share`` says, at least one."""
    share = cell.spec.triggered_share
    if share is None:
        share = float(getattr(cell.kit.plugin, "triggered_share", 1.0))
    count = max(1, round(share * _count(inputs))) if share < 1 else _count(inputs)
    if count == _count(inputs):
        return inputs
    arguments = {"clean": inputs, "triggered": inputs, "order": list(range(count))}
    first: Data = stages.run("mix-inputs", [cell.kit], arguments, hooks.mix_inputs, label="inputs to trigger")
    return first


def _defenders_data(cell: Prepared, stages: StageRunner, data: Data) -> Data:
    arguments = {"data": data, "share": cell.spec.data_share}
    shared: Data = stages.run("share-data", [cell.kit], arguments, hooks.share_data, label="defender's data")
    return shared


def _suspects(cell: Prepared, stages: StageRunner, clean: Data, triggered: Data) -> tuple[Data, list[bool]]:
    """A shuffled mix of clean and triggered inputs with its labels. A detector of models gets clean inputs only."""
    assert cell.detector is not None
    if cell.detector.plugin.level == "model":
        return clean, []
    order = list(range(_count(clean) + _count(triggered)))
    random.Random(stage_seed(cell.spec.seed, "mix-inputs", cell.kit.id)).shuffle(order)
    arguments = {"clean": clean, "triggered": triggered, "order": order}
    suspects: Data = stages.run("mix-inputs", [cell.kit], arguments, hooks.mix_inputs, label="suspects")
    return suspects, [row >= _count(clean) for row in order]


def _detect(cell: Prepared, stages: StageRunner, model: Model, data: Data, suspects: Data, label: str) -> Detection:
    detector = cell.detector
    assert detector is not None
    expected = 1 if detector.plugin.level == "model" else _count(suspects)

    def detect(
        manager: pluggy.PluginManager, ctx: Context, params: Params, model: Model, data: Data, suspects: Data
    ) -> Detection:
        found = hooks.detect(manager, ctx, params, model, data, suspects)
        if (found.level, len(found.scores)) != (detector.plugin.level, expected):
            raise PluginError(
                f"{detector.id} returned {len(found.scores)} scores at level {found.level!r} while making {label!r}; "
                f"expected {expected} at level {detector.plugin.level!r}, which its class declares"
            )
        return found

    arguments = {"model": model, "data": data, "suspects": suspects}
    detection: Detection = stages.run("detect", [detector], arguments, detect, label=label)
    return detection


def _generate(
    stages: StageRunner, plugins: list[Loaded], model: Model, inputs: Data, secret: Any, label: str
) -> Outputs:
    arguments = {"model": model, "inputs": inputs, "secret": secret}
    outputs: Outputs = stages.run("generate", plugins, arguments, hooks.generate, label=label)
    return outputs


def _count(inputs: Data) -> int:
    count = inputs.meta.get("count")
    if not isinstance(count, int):
        raise PluginError(f'the data in {inputs.path} has no meta["count"]: seal data with its number of rows')
    return count


def _score(cell: Prepared, stages: StageRunner, folder: RunFolder, role: str, subject: Subject) -> None:
    facts = _facts(cell, folder)
    for metric in cell.metrics:
        found: list[Measurement] = stages.run(
            "score", [metric], {"subject": subject}, hooks.score, label=f"score {role}: {metric.plugin.name}"
        )
        for measurement in found:
            row = "clean under trigger" if (role, measurement.on) == ("clean", "triggered") else role
            folder.result(row, role, metric.id, measurement, facts)


def _facts(cell: Prepared, folder: RunFolder) -> dict[str, Any]:
    spec = cell.spec
    return {"run": folder.folder.name, "attack": spec.attack, "detect": spec.detect, "repair": spec.repair,
            "task": cell.task, "seed": spec.seed}  # fmt: skip
