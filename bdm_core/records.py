"""What hooks return and metrics get beside folders: records, written as JSON."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, JsonValue, field_validator

from bdm_core.artifacts import Data, Evidence, Model, Outputs, Record, Secret

Origin = Literal["clean", "triggered", "model"]


class Backdoored(Record):
    """Result of ``inject_backdoor``.

    Attributes:
        model: the backdoored model.
        secret: what only the attacker and the evaluation know.
        view: the training data as it really was, with roles, from an attack that changes samples while it trains.
    """

    model: Model
    secret: Secret
    view: Data | None = None


class Purified(Record):
    """Result of ``purify_inputs``.

    Attributes:
        inputs: as many rows as there were, in the same order.
        rejected: one flag a row: the defense turns this input away, the model never sees it.
    """

    inputs: Data
    rejected: list[bool] = Field(default_factory=list)


class Detection(Record):
    """Result of ``detect``.

    Attributes:
        level: what was judged: the ``model``, each ``input``, or each training ``data`` row.
        scores: one number for the model, or one for each suspect in the order given; higher is more suspicious.
        threshold: backdoored (or triggered) if a score is above it. It comes from clean material only.
        p_value: for the model, the probability of such a score or a higher one if the model is clean, in [0, 1].
        conclusive: False if the method cannot tell for this model; ``note`` then says why. It never means clean.
        note: one sentence for the table and the report.
        evidence: what the report shows, or None.
        network_evaluations: forward passes spent, counted per sample; None if not counted.
        clean_samples: how many clean data samples the detector used.

    >>> Detection(level="model", scores=[2.5], threshold=1.0, p_value=0.01).verdict
    'backdoored'
    >>> Detection(level="input", scores=[0.2, 0.9], threshold=0.5).verdict
    ''
    >>> Detection(level="model", scores=[2.5], threshold=1.0, conclusive=False, note="too few steps").verdict
    'not identifiable'
    """

    level: Literal["model", "input", "data"]
    scores: list[float] = Field(min_length=1)
    threshold: float
    p_value: float | None = Field(default=None, ge=0, le=1)
    conclusive: bool = True
    note: str = ""
    evidence: Evidence | None = None
    network_evaluations: int | None = None
    clean_samples: int = 0

    @property
    def verdict(self) -> Literal["backdoored", "clean", "not identifiable", ""]:
        """The answer on the model in words. "" at input and data level: some clean rows are always above a threshold,
        so that flagged ones are no verdict on the model.
        """
        if not self.conclusive:
            return "not identifiable"
        if self.level != "model":
            return ""
        return "backdoored" if self.scores[0] > self.threshold else "clean"


class Subject(Record):
    """One row of the result table: a model with its outputs. ``score`` measures it.

    Attributes:
        role: ``clean`` (the model before the attack), ``backdoored``, ``purified`` (the backdoored model behind a
            defense that purifies its inputs) or ``repaired``.
        model: the model.
        on_clean: its outputs from clean inputs; there may be none if all were rejected.
        on_triggered: its outputs from triggered inputs; likewise.
        reference: clean data to compare with (the training data).
        secret: the attack's secret, with the target.
        detection: the verdict on this model, or None.
        suspects: for detection of inputs or of training rows their labels (True for triggered or poisoned), else empty.
        rejected_clean: clean inputs that a defense turned away, so that ``on_clean`` has so many rows less.
        rejected_triggered: triggered inputs likewise. An attack on a rejected input has failed.
        clean: what the clean model made of the same clean and of the same triggered inputs, the attack's own; metrics
            pair them with ``on_clean`` and ``on_triggered`` by row.
        before: of ``purified`` and ``repaired`` what the undefended backdoored model made of clean and of triggered
            inputs, for metrics of the change; else empty.
        undefended: of ``purified`` and ``repaired`` the backdoored model; else None.
        stages: of each stage of a defense in this run, by its label (``detection``, ``detection on clean model``,
            ``purified inputs``, ``purified inputs under trigger``, ``repaired model``), its ``seconds``, its
            ``peak_memory_bytes`` (None where unknown) and its ``figures`` without the curves; empty for a metric that
            does not say ``sees_stages``.
    """

    role: Literal["clean", "backdoored", "purified", "repaired"]
    model: Model
    on_clean: Outputs
    on_triggered: Outputs
    reference: Data
    secret: Secret
    detection: Detection | None = None
    suspects: list[bool] = Field(default_factory=list)
    rejected_clean: int = Field(0, ge=0)
    rejected_triggered: int = Field(0, ge=0)
    clean: list[Outputs] = Field(default_factory=list)
    before: list[Outputs] = Field(default_factory=list)
    undefended: Model | None = None
    stages: dict[str, JsonValue] = Field(default_factory=dict)


class Measurement(Record):
    """One number.

    Attributes:
        metric: name within the metric plugin, e.g. ``mse`` or ``asr@0.05``; results are keyed ``metric:NAME.metric``.
        value: the number, or None if it is undefined for this subject; NaN and infinity become None.
        on: which outputs it was measured on: ``clean``, ``triggered``, or ``model`` for the model as a whole.
        higher_is_better: as the defender sees it: False for an attack success rate, True for an accuracy; None if it
            has no direction.
        n: number of samples behind it.
        stderr: standard error of ``value``, if known and finite.
        label: how a table names it.
        description: what it means, in a sentence with unit and range, for the report.
        share: its values lie in [0, 1], as those of a rate do.
        measures: ``attack-success`` for the share of triggered inputs on which the attack succeeds, ``utility`` for how
            well the model does its task; the report's headline is made of the first of each.

    >>> asr = Measurement(
    ...     metric="asr@0.05",
    ...     value=0.98,
    ...     on="triggered",
    ...     higher_is_better=False,
    ...     n=50,
    ...     description="Share of triggered samples closer to the target than 0.05, in [0, 1].",
    ...     share=True,
    ...     measures="attack-success",
    ... )
    >>> Measurement(metric="mse", value=float("nan")).value is None
    True
    """

    metric: str
    value: float | None
    on: Origin = "model"
    higher_is_better: bool | None = None
    n: int | None = None
    stderr: float | None = None
    label: str = ""
    description: str = ""
    share: bool = False
    measures: Literal["attack-success", "utility", ""] = ""

    @field_validator("value", "stderr", mode="before")
    @classmethod
    def _undefined_if_not_finite(cls, number: Any) -> Any:
        return None if isinstance(number, float) and not math.isfinite(number) else number


class BuiltIn(Record):
    """A model or data set that comes with a kit.

    Attributes:
        name: what ``--model`` or ``--data`` takes.
        task: the task it is for.
        summary: what it is.
        size: how large, in words: parameters of a model; number and shape of the samples.
        quality: how good, in words, e.g. a Fréchet distance; "" for data.
        data: of a model, the built-in data set that the kit takes with it if none is named; "" if only the opened model
            tells.
    """

    name: str
    task: str
    summary: str
    size: str
    quality: str = ""
    data: str = ""
