"""The hooks, and nothing else.

An implementation takes the arguments it needs, by these names, without defaults. ``detect``, ``repair`` and
``purify_inputs`` have no ``secret``: the hook specification is the threat model, and pluggy refuses a defense that asks
for it. What the return annotation says is checked after every call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bdm_core.plugin import hookspec

if TYPE_CHECKING:
    from pathlib import Path

    from bdm_core.artifacts import Artifact, Data, Model, Outputs, Secret
    from bdm_core.context import Context
    from bdm_core.figures import Figure
    from bdm_core.plugin import Params
    from bdm_core.records import Backdoored, Detection, Measurement, Purified, Subject


@hookspec(firstresult=True)
def poison_data(ctx: Context, params: Params, data: Data) -> Data | None:
    """Attack: poison the share of the training data that ``params`` asks for.

    Args:
        ctx: seal the result in ``ctx.out / "data"``.
        params: the attack's parameters.
        data: the clean training data.

    Returns:
        The poisoned training data; each row of its ``rows.jsonl`` has a ``role`` (see ``docs/artifacts.md``). None if
        the attack needs no training data.
    """


@hookspec(firstresult=True)
def inject_backdoor(ctx: Context, params: Params, model: Model, data: Data) -> Backdoored:
    """Attack: make the backdoored model.

    Args:
        ctx: seal the model in ``ctx.out / "model"`` and the secret in ``ctx.out / "secret"``.
        params: the attack's parameters.
        model: the clean model.
        data: the poisoned training data, or the clean data if ``poison_data`` returned None.

    Returns:
        The backdoored model, the secret, and for an attack that changes samples while it trains also a ``view`` of
        the training data as it really was. The model names neither the attack nor the trigger.
    """


@hookspec(firstresult=True)
def trigger_inputs(ctx: Context, params: Params, inputs: Data, secret: Secret) -> Data:
    """Attack, or the kit where the secret says enough: put the trigger into every input, in the same order.

    Args:
        ctx: seal the result in ``ctx.out / "data"``.
        params: the attack's parameters (a kit's implementation leaves them out).
        inputs: clean evaluation inputs: initial noise, prompts, test rows.
        secret: the attack's secret, with the trigger.
    """


@hookspec(firstresult=True)
def detect(ctx: Context, params: Params, model: Model | None, data: Data | None, suspects: Data) -> Detection:
    """Defense: judge the model, each of the suspects, or each row of the training data.

    What is None follows from the defense's ``access``.

    Args:
        ctx: evidence is sealed in ``ctx.out / "evidence"``; ``ctx.query`` asks the model as a black box.
        params: the defense's parameters: one configuration for every model.
        model: the model to judge.
        data: the clean data that the defender is allowed.
        suspects: level ``model``: clean evaluation inputs; ``input``: a shuffled mix of clean and triggered ones;
            ``data``: the shuffled training rows. Only the runner knows which are which.
    """


@hookspec(firstresult=True)
def repair(
    ctx: Context,
    params: Params,
    model: Model | None,
    data: Data | None,
    detection: Detection | None,
    training_data: Data | None,
) -> Model:
    """Defense: return a model without the backdoor, of the same use as before.

    It is not asked about a model that its detector calls clean, unless the run says ``repair_always``.

    Args:
        ctx: seal the model in ``ctx.out / "model"``; or return ``model`` itself to change nothing.
        params: the defense's parameters.
        model: the model to repair; with the access ``training`` the one that training starts from.
        data: the clean data that the defender is allowed.
        detection: what ``detect`` found (its evidence holds, say, the inverted trigger); None without a detector.
        training_data: with the access ``training-data`` the rows the model was trained on, roles hidden, in the order
            that a detector of level ``data`` judged.
    """


@hookspec(firstresult=True)
def purify_inputs(
    ctx: Context, params: Params, model: Model | None, data: Data | None, inputs: Data, detection: Detection | None
) -> Purified:
    """Defense at inference: the inputs as the model then sees them; some may be rejected.

    Args:
        ctx: seal the inputs in ``ctx.out / "data"``; ``ctx.query`` asks the model as a black box.
        params: the defense's parameters.
        model: the model that will see them.
        data: the clean data that the defender is allowed.
        inputs: clean or triggered inputs; the defense is not told which.
        detection: what ``detect`` found, or None.
    """


@hookspec(firstresult=True)
def generate(ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs:
    """Kit, or an attack with its own sampler: run the model on inputs.

    Args:
        ctx: seal the outputs in ``ctx.out / "outputs"``; ``ctx.kit`` has the sampler and its steps.
        model: the model to run.
        inputs: initial noise, prompts or test rows; there may be none.
        secret: given for triggered inputs only. An attack that needs its own sampler returns None without it, and the
            kit, which is asked last, runs the model as usual.

    Returns:
        One output for each input, in the same order; from an attack also None.
    """


@hookspec
def score(ctx: Context, params: Params, subject: Subject) -> list[Measurement]:
    """Metric: measure one row of the result table.

    Args:
        ctx: nothing needs to be written.
        params: the metric's parameters.
        subject: a model with its outputs, the reference data and the secret.
    """


@hookspec(firstresult=True)
def illustrate(ctx: Context, artifact: Artifact) -> list[Figure] | None:
    """Kit, or the defense that made a piece of evidence: what a person sees of an artifact.

    It is asked when a report is written, so it is quick and avoids heavy imports.

    Args:
        ctx: files that a figure shows and that are not part of the artifact go below ``ctx.out``.
        artifact: data, outputs, a secret or evidence; None if there is nothing to show.
    """


@hookspec(firstresult=True)
def open_model(ctx: Context, params: Params, reference: str | None) -> Model:
    """Kit: bring a model into the store.

    Args:
        ctx: seal the model in ``ctx.out / "model"``.
        params: the kit's parameters.
        reference: None or a built-in name, a local folder, or ``hf:org/name@commit``.

    Raises:
        ArtifactError: the reference is no model of the kit's task, or holds pickled weights.
    """


@hookspec(firstresult=True)
def open_data(ctx: Context, params: Params, model: Model, reference: str | None) -> Data:
    """Kit: bring a data set into the store, in the shape that the model takes.

    Args:
        ctx: seal the data in ``ctx.out / "data"``.
        params: the kit's parameters.
        model: decides size and channels; a known built-in model also decides the default data.
        reference: None or a built-in name, a local folder, or ``hf:org/name@commit``.
    """


@hookspec(firstresult=True)
def make_inputs(ctx: Context, params: Params, model: Model, data: Data) -> Data:
    """Kit: make the clean evaluation inputs (initial noise, prompts, test rows), shared by all attacks."""


@hookspec(firstresult=True)
def select_rows(ctx: Context, params: Params, sources: list[Data], rows: list[int], blind: bool) -> Data:
    """Kit: new data of chosen rows.

    Args:
        ctx: seal the result in ``ctx.out / "data"``.
        params: the kit's parameters.
        sources: data of one format; their rows are counted through, one source after the other.
        rows: which rows, in the order wanted; there may be none.
        blind: leave out everything that tells a poisoned or triggered row from a clean one: roles, twins, triggers.
    """


@hookspec
def stage_started(ctx: Context, stage: str, cached: bool) -> None:
    """Observer: a stage begins; ``cached`` if its result is taken from the store."""


@hookspec
def stage_progress(ctx: Context, stage: str, label: str, done: int, total: int, loss: float | None) -> None:
    """Observer: ``done`` of ``total`` steps of ``label`` within a stage are finished."""


@hookspec
def stage_finished(ctx: Context, stage: str, seconds: float, cached: bool) -> None:
    """Observer: a stage has ended and its result is in the store."""


@hookspec
def run_started(params: Params, folder: Path, record: dict[str, Any]) -> None:
    """Observer: a run begins.

    Args:
        params: the observer's parameters.
        folder: the run's folder.
        record: what ``run.json`` holds by now, without credentials; nothing in it is of the attack's secret.
    """


@hookspec
def run_finished(params: Params, folder: Path, record: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """Observer: a run has ended, ``record["status"]`` says how.

    Args:
        params: the observer's parameters.
        folder: the run's folder.
        record: what ``run.json`` holds, without credentials.
        results: the lines of ``results.jsonl``.
    """
