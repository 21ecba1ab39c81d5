"""The hooks, and nothing else.

An implementation takes the arguments it needs, by these names, without defaults. ``detect`` and ``repair`` have no
``secret``: the hook specification is the threat model, and pluggy refuses a defense that asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_core.plugin import hookspec

if TYPE_CHECKING:
    from bdm_core.artifacts import Backdoored, Data, Detection, Measurement, Model, Outputs, Secret, Subject
    from bdm_core.context import Context
    from bdm_core.plugin import Params


@hookspec(firstresult=True)
def poison_data(
    ctx: Context, params: Params, data: Data, split: Literal["train", "trigger"], secret: Secret | None
) -> Data | None:
    """Attack: put poison or a trigger into data.

    Args:
        ctx: seal the result in a subfolder of ``ctx.out``.
        params: the attack's parameters.
        data: for ``train`` the clean training data, for ``trigger`` the clean evaluation inputs (initial noise,
            prompts, test images).
        split: ``train``: poison the share of samples that ``params`` asks for. ``trigger``: put the trigger into every
            input, in the same order.
        secret: for ``trigger`` the attack's secret (a trigger may have been learnt); None for ``train``.

    Returns:
        The new data; None for ``train`` if the attack edits weights and needs no training data.
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
        The backdoored model and the secret. The model names neither the attack nor the trigger.
    """


@hookspec(firstresult=True)
def detect(ctx: Context, params: Params, model: Model, data: Data, suspects: Data) -> Detection:
    """Defense: judge the model, or each of the suspects.

    Args:
        ctx: evidence is sealed in ``ctx.out / "evidence"``.
        params: the defense's parameters: one configuration for every model.
        model: the model to judge.
        data: the clean data that the defender is allowed.
        suspects: a shuffled mix of clean and triggered inputs whose labels only the runner knows.
    """


@hookspec(firstresult=True)
def repair(ctx: Context, params: Params, model: Model, data: Data, detection: Detection | None) -> Model:
    """Defense: return a model without the backdoor, of the same use as before.

    Args:
        ctx: seal the model in ``ctx.out / "model"``; or return ``model`` itself to change nothing.
        params: the defense's parameters.
        model: the model to repair.
        data: the clean data that the defender is allowed.
        detection: what ``detect`` found (its evidence holds, say, the inverted trigger); None without a detector.
    """


@hookspec(firstresult=True)
def generate(ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs | None:
    """Kit, or an attack with its own sampler: run the model on inputs.

    Args:
        ctx: seal the outputs in ``ctx.out / "outputs"``; ``ctx.kit`` has the sampler and its steps.
        model: the model to run.
        inputs: initial noise, prompts or test images.
        secret: given for triggered inputs only. An attack that needs its own sampler returns None without it, and the
            kit, which is asked last, runs the model as usual.

    Returns:
        One output for each input, in the same order.
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
def share_data(ctx: Context, params: Params, data: Data, share: float) -> Data:
    """Kit: draw the clean data that the defender is allowed, a random share of ``data`` in (0, 1]."""


@hookspec(firstresult=True)
def make_inputs(ctx: Context, params: Params, model: Model, data: Data) -> Data:
    """Kit: make the clean evaluation inputs (initial noise, prompts, test images), shared by all attacks."""


@hookspec(firstresult=True)
def mix_inputs(ctx: Context, params: Params, clean: Data, triggered: Data, order: list[int]) -> Data:
    """Kit: make the suspects: row ``i`` is row ``order[i]`` of clean followed by triggered. No label is written."""


@hookspec
def stage_started(ctx: Context, stage: str, cached: bool) -> None:
    """Observer: a stage begins; ``cached`` if its result is taken from the store."""


@hookspec
def stage_progress(ctx: Context, stage: str, label: str, done: int, total: int, loss: float | None) -> None:
    """Observer: ``done`` of ``total`` steps of ``label`` within a stage are finished."""


@hookspec
def stage_finished(ctx: Context, stage: str, seconds: float, cached: bool) -> None:
    """Observer: a stage has ended and its result is in the store."""
