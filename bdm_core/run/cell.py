"""The stages of one cell: poison, clean samples, backdoor, its samples, detection, purification, repair, scores."""

from __future__ import annotations

from typing import Any

from bdm_core.artifacts import Data, Model, Outputs, verify_if_sealed
from bdm_core.errors import PluginError, UserError
from bdm_core.files import content_of
from bdm_core.hooks import implements
from bdm_core.records import Backdoored, Detection, Measurement, Subject
from bdm_core.run.handover import Handover
from bdm_core.run.preparation import Loaded, Prepared
from bdm_core.run.purification import purify
from bdm_core.run.record import RunFolder
from bdm_core.run.rows import Rows, count_of
from bdm_core.run.stages import StageRunner

LEFT_AS_IT_IS = (
    "the detector calls the model clean, so that it was left as it is (--repair-always repairs it all the same)"
)


def run_cell(cell: Prepared, stages: StageRunner, folder: RunFolder) -> dict[str, Detection]:
    """Run one attack and one defense; the detections by role of the judged model."""
    kit, attack = cell.kit, cell.attack
    assert attack is not None
    rows = Rows(stages, kit, cell.spec.seed)
    model, data, inputs = open_all(cell, stages)
    handover = Handover(cell, stages, rows, start=model, data=data)
    handover.check()
    poisoned: Data | None = None
    if implements(attack.plugin, "poison_data"):  # first, since it is fast and finds what is wrong with the attack
        poisoned = stages.run("poison_data", [attack], {"data": data}, label="poisoned data")
    clean_on_clean = _generate(stages, [kit], model, inputs, None, "clean samples")
    made: Backdoored = stages.run(
        "inject_backdoor",
        [attack],
        {"model": model, "data": poisoned or data},
        label="backdoored model",
    )
    share = kit.plugin.triggered_share if cell.spec.triggered_share is None else cell.spec.triggered_share
    to_trigger = rows.first(inputs, share, "inputs to trigger")
    answering = [attack, kit] if implements(kit.plugin, "trigger_inputs") else [attack]
    given = {"inputs": to_trigger, "secret": made.secret}
    triggered: Data = stages.run("trigger_inputs", answering, given, label="triggered inputs")
    askers = [attack, kit] if implements(attack.plugin, "generate") else [kit]

    def under_trigger(subject: Model, inputs: Data, role: str) -> Outputs:
        return _generate(stages, askers, subject, inputs, made.secret, f"{role} samples under trigger")

    def samples(subject: Model, clean: Data, bad: Data, role: str) -> dict[str, Any]:
        on_clean = _generate(stages, [kit], subject, clean, None, f"{role} samples")
        return {"on_clean": on_clean, "on_triggered": under_trigger(subject, bad, role)}

    clean_on_triggered = under_trigger(model, triggered, "clean")
    backdoored_samples = samples(made.model, inputs, triggered, "backdoored")
    training = made.view or poisoned
    detections: dict[str, Detection] = {}
    labels: list[bool] = []
    if cell.detector is not None:
        suspects, labels = handover.suspects(inputs, triggered, training)
        detections["backdoored"] = handover.detect(cell.detector, made.model, suspects, "detection")
        if cell.spec.scan_clean:
            if cell.detector.plugin.level == "data":
                suspects = rows.shuffled([data], "training rows of the clean model")[0]
            detections["clean"] = handover.detect(cell.detector, model, suspects, "detection on clean model")
    found = detections.get("backdoored")
    common: dict[str, Any] = {"reference": data, "secret": made.secret, "clean": [clean_on_clean, clean_on_triggered]}
    judged = {**common, "suspects": labels}
    after = {**common, "before": list(backdoored_samples.values()), "undefended": made.model}
    subjects = [
        Subject(
            role="clean",
            model=model,
            on_clean=clean_on_clean,
            on_triggered=clean_on_triggered,
            detection=detections.get("clean"),
            **(common if found is not None and found.level == "data" else judged),
        ),
        Subject(role="backdoored", model=made.model, detection=found, **backdoored_samples, **judged),
    ]
    if cell.purifier is not None:
        clean = purify(handover, cell.purifier, made.model, inputs, found, "purified inputs")
        bad = purify(handover, cell.purifier, made.model, triggered, found, "purified inputs under trigger")
        subjects.append(
            Subject(
                role="purified",
                model=made.model,
                **samples(made.model, clean.passed, bad.passed, "purified"),
                rejected_clean=clean.rejected,
                rejected_triggered=bad.rejected,
                **after,
            )
        )
    if cell.repairer is not None:
        repaired = made.model
        if found is not None and leave_alone(found) and not cell.spec.repair_always:
            folder.note("repair", LEFT_AS_IT_IS)
        else:
            repaired = handover.repair(cell.repairer, made.model, found, training)
        after |= samples(repaired, inputs, triggered, "repaired")
        subjects.append(Subject(role="repaired", model=repaired, **after))
    for subject in subjects:
        _score(cell, stages, folder, subject)
    return detections


def leave_alone(detection: Detection) -> bool:
    """Whether a detector's answer says that there is nothing to repair: it judged the model, and calls it clean."""
    return detection.level == "model" and detection.verdict == "clean"


def open_all(cell: Prepared, stages: StageRunner) -> tuple[Model, Data, Data]:
    """The model, the data and the clean evaluation inputs of a run."""
    kit, spec = cell.kit, cell.spec
    for reference in (spec.data, spec.training_data):
        verify_if_sealed(reference)
    model = open_model(cell, stages, spec.model, "model")
    data = open_data(cell, stages, model, spec.data, "data")
    inputs: Data = stages.run("make_inputs", [kit], {"model": model, "data": data}, label="inputs")
    return model, data, inputs


def open_model(cell: Prepared, stages: StageRunner, reference: str | None, label: str) -> Model:
    """One model, verified first if it is a sealed artifact. None is the kit's first built-in model of the task."""
    verify_if_sealed(reference)
    if reference is None and len(cell.kit.plugin.tasks) > 1:
        reference = next((item.name for item in cell.kit.plugin.models() if item.task == cell.task), None)
    given, identity = {"reference": reference}, {"reference": content_of(reference)}
    model: Model = stages.run("open_model", [cell.kit], given, label=label, identity=identity)
    if len(cell.kit.plugin.tasks) > 1 and model.task != cell.task:
        raise UserError(f"{reference} is a model for {model.task}, this run is for {cell.task}: name another task")
    return model


def open_data(cell: Prepared, stages: StageRunner, model: Model, reference: str | None, label: str) -> Data:
    """One data set, in the shape that the model takes."""
    given = {"model": model, "reference": reference}
    identity = {"reference": content_of(reference)}
    data: Data = stages.run("open_data", [cell.kit], given, label=label, identity=identity)
    return data


def _generate(
    stages: StageRunner, plugins: list[Loaded], model: Model, inputs: Data, secret: Any, label: str
) -> Outputs:
    def as_many(outputs: Outputs, *_: Any) -> Outputs:
        if count_of(outputs) != count_of(inputs):
            raise PluginError(
                f"{plugins[0].id} gave {count_of(outputs)} outputs for {count_of(inputs)} inputs while making {label!r}"
            )
        return outputs

    given = {"model": model, "inputs": inputs, "secret": secret}
    outputs: Outputs = stages.run("generate", plugins, given, label=label, finish=as_many)
    return outputs


def _score(cell: Prepared, stages: StageRunner, folder: RunFolder, subject: Subject) -> None:
    role, names = subject.role, ("attack", "detect", "purify", "repair", "task", "seed")
    facts = {"run": folder.folder.name, **{name: getattr(cell.spec, name) for name in names}}
    informed = subject.model_copy(update={"stages": stages.defending})
    for metric in cell.metrics:
        given = {"subject": informed if metric.plugin.sees_stages else subject}
        found: list[Measurement] = stages.run("score", [metric], given, label=f"score {role}: {metric.plugin.name}")
        for measurement in found:
            row = "clean under trigger" if (role, measurement.on) == ("clean", "triggered") else role
            folder.result(row, role, metric.id, measurement, facts)
