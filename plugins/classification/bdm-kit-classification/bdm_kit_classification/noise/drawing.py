"""Draw the noise of training rows before any poison, and settle it once the rows of an attack are known.

With ``noise_rows=all`` the rows are changed at once. Else each row that noise was drawn for says so in its facts
(:data:`PENDING`), and :func:`settle` changes those that are meant once the plan of an attack says which rows it
changes: the noise comes before the trigger in any case, and who is drawn does not depend on the attack.

A changed row says ``data_noise`` and ``label_noise``, each with the kind, and ``true_label`` where its label was
changed. A sample that the noise leaves as it is (a silent recording) is not counted, nor is a wrong label that an
attack writes its target over (:func:`without_overwritten`).
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Iterable, Mapping, Sized
from dataclasses import replace
from typing import Any

from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.noise.kind import Noise
from bdm_kit_classification.noise.params import NoiseParams

PENDING = "pending_noise"
DATA, LABEL = "data_noise", "label_noise"
TRUE = "true_label"
AT_ONCE = 256


def row_seed(seed: int, row: int) -> int:
    """63 bits of SHA-256: more rows with the same seed have the same noise and further ones.

    >>> row_seed(0, 1) != row_seed(1, 0)
    True
    """
    return int.from_bytes(hashlib.sha256(f"noise/{seed}/{row}".encode()).digest()[:8], "big") >> 1


def add_noise(samples: LabelledSamples, params: NoiseParams, stage_seed: int) -> LabelledSamples:
    """Training rows with the noise that the parameters ask for, or with what :func:`settle` needs to add it.

    Args:
        samples: clean training rows.
        params: kinds, rates, level, seed.
        stage_seed: takes the place of ``noise_seed`` where that is None.

    Raises:
        UserError: the modality has no such noise, or not of this level; a rate is so small that no row is drawn; the
            rows have noise already.
    """
    _warn_of_idle(params)
    if params.data_noise is None and params.label_noise == "none":
        return samples
    if any(DATA in fact or LABEL in fact or PENDING in fact for fact in samples.facts):
        raise UserError("these data have noise already: choose others, or leave data_noise and label_noise out")
    seed = stage_seed if params.noise_seed is None else params.noise_seed
    drawn: dict[int, dict[str, Any]] = {}
    if params.data_noise is not None:
        _, level = _kind(samples, params.data_noise, params.data_noise_level)
        order = list(range(len(samples)))
        random.Random(f"data noise/{seed}").shuffle(order)
        chosen = order[: round(params.data_noise_rate * len(samples))]
        _require_some(chosen, "data_noise_rate", params.data_noise_rate, len(samples))
        for row in chosen:
            drawn.setdefault(row, {})[DATA] = [params.data_noise, level, row_seed(seed, row)]
    if params.label_noise != "none":
        wrong = wrong_labels(samples.labels.tolist(), len(samples.classes), params, seed)
        _require_some(wrong, "label_noise_rate", params.label_noise_rate, len(samples))
        for row, label in wrong.items():
            drawn.setdefault(row, {})[LABEL] = [params.label_noise, label]
    facts = [dict(fact) for fact in samples.facts]
    for row, found in drawn.items():
        facts[row][PENDING] = {"rows": params.noise_rows, **found}
    marked = replace(samples, facts=facts)
    return settle(marked, None) if params.noise_rows == "all" else marked


def wrong_labels(labels: list[int], classes: int, params: NoiseParams, seed: int) -> dict[int, int]:
    """Row -> another label than its own, of the share of all rows (uniform) or of each class that the rate says.

    >>> params = NoiseParams(label_noise="class-dependent", label_noise_rate=0.5)
    >>> found = wrong_labels([0, 0, 1, 1, 2, 2], 3, params, seed=0)
    >>> sorted(found.values())
    [0, 1, 2]
    """
    draw = random.Random(f"label noise/{seed}")
    if params.label_noise == "uniform":
        rows = draw.sample(range(len(labels)), round(params.label_noise_rate * len(labels)))
        return {row: (labels[row] + draw.randrange(1, classes)) % classes for row in rows}
    found = {}
    for label in range(classes):
        own = [row for row, known in enumerate(labels) if known == label]
        for row in draw.sample(own, round(params.label_noise_rate * len(own))):
            found[row] = (label + 1) % classes
    return found


def settle(samples: LabelledSamples, changed_rows: Iterable[int] | None) -> LabelledSamples:
    """Rows with the noise that was drawn for them and waits; as they are if none does.

    Args:
        samples: training rows.
        changed_rows: those that the attack changes; None: whoever noise was drawn for has it.
    """
    waiting = {row: fact[PENDING] for row, fact in enumerate(samples.facts) if PENDING in fact}
    if not waiting:
        return samples
    poisoned = set(changed_rows or ())
    meant = {
        row: found
        for row, found in waiting.items()
        if changed_rows is None or (row in poisoned) == (found["rows"] == "poisoned")
    }
    rows = [row for row, found in meant.items() if DATA in found]
    done = samples
    for start in range(0, len(rows), AT_ONCE):
        done = _with_data_noise(done, rows[start : start + AT_ONCE], meant)
    facts = [{key: value for key, value in fact.items() if key != PENDING} for fact in done.facts]
    labels = done.labels.clone()
    for row, found in meant.items():
        if LABEL in found:
            facts[row] |= {LABEL: found[LABEL][0], TRUE: int(labels[row])}
            labels[row] = found[LABEL][1]
    return replace(done, labels=labels, facts=facts)


def require_settled(samples: LabelledSamples) -> None:
    """Refuse to train on rows whose noise waits for an attack's rows. Raises UserError."""
    if any(PENDING in fact for fact in samples.facts):
        raise UserError(
            "noise_rows is for attacks that change rows before anything is trained, and this one trains first or "
            "changes rows while it trains: set kit:classification.noise_rows=all"
        )


def without_overwritten(samples: LabelledSamples, rows: Iterable[int]) -> LabelledSamples:
    """Rows that an attack writes one label over, whatever theirs is, say no ``label_noise``: their wrong label is gone.

    ``true_label`` stays. A warning says of how many rows.
    """
    lost = [row for row in rows if LABEL in samples.facts[row]]
    if not lost:
        return samples
    logging.getLogger("bdm").warning(
        "label_noise does nothing on %d of the poisoned rows: the attack writes a label of its own over the wrong one",
        len(lost),
    )
    facts = [dict(fact) for fact in samples.facts]
    for row in lost:
        del facts[row][LABEL]
    return replace(samples, facts=facts)


def kinds_of(samples: LabelledSamples) -> dict[str, str]:
    """The kinds of noise that rows say, by ``data_noise`` and ``label_noise``."""
    found = {name: sorted({str(fact[name]) for fact in samples.facts if name in fact}) for name in (DATA, LABEL)}
    return {name: ", ".join(kinds) for name, kinds in found.items() if kinds}


def realised(samples: LabelledSamples, kinds: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What noise the rows have: of ``data_noise`` and ``label_noise`` each the kind, and count and share of the rows
    that the attack left alone (``clean``), of those that it changed (``poisoned``) and of ``all``; {} without any.

    The rows themselves are those whose facts say so.

    Args:
        samples: the rows.
        kinds: of noise that was added, by name, counted even where no row has it any more; None: what the rows say.
    """
    roles = samples.roles
    found: dict[str, dict[str, Any]] = {}
    groups = {
        "all": range(len(samples)),
        "clean": [row for row, role in enumerate(roles) if role == "clean"],
        "poisoned": [row for row, role in enumerate(roles) if role != "clean"],
    }
    for name, kind in (kinds_of(samples) if kinds is None else kinds).items():
        found[name] = {"kind": kind}
        for group, rows in groups.items():
            count = sum(name in samples.facts[row] for row in rows)
            if rows:
                found[name][group] = {"rows": len(rows), "noisy": count, "rate": count / len(rows)}
    return found


def _require_some(chosen: Sized, name: str, rate: float, rows: int) -> None:
    if not len(chosen):
        raise UserError(f"{name} {rate:g} of {rows} rows is no row: raise it")


def _warn_of_idle(params: NoiseParams) -> None:
    """One warning that names parameters which were set and do nothing, for no noise was asked for."""
    quiet = NoiseParams()
    idle = ["data_noise_rate", "data_noise_level"] if params.data_noise is None else []
    idle += ["label_noise_rate"] if params.label_noise == "none" else []
    idle += ["noise_rows", "noise_seed"] if len(idle) == 3 else []
    idle = [name for name in idle if getattr(params, name) != getattr(quiet, name)]
    if idle:
        kind = "data_noise" if idle[0].startswith("data") else "label_noise"
        kind = "data_noise or label_noise" if idle[0].startswith("noise") else kind
        logging.getLogger("bdm").warning("%s: nothing is done without %s", ", ".join(idle), kind)


def _kind(samples: LabelledSamples, name: str, level: float | None) -> tuple[Noise, float]:
    noises = samples.modality.noises
    if name not in noises:
        raise UserError(f"data_noise={name} is no noise of {samples.task}: there are {', '.join(noises)}")
    noise = noises[name]
    if level is not None and not noise.low <= level <= noise.high:
        raise UserError(
            f"data_noise_level={level:g}: {name} takes values in [{noise.low:g}, {noise.high:g}], {noise.meaning}"
        )
    return noise, noise.level if level is None else level


def _with_data_noise(samples: LabelledSamples, rows: list[int], meant: dict[int, dict[str, Any]]) -> LabelledSamples:
    """With noise in these rows; those that it leaves as they are do not say ``data_noise``."""
    name, level, _ = meant[rows[0]][DATA]
    noise, _ = _kind(samples, name, level)
    seeds = [meant[row][DATA][2] for row in rows]
    done = samples.changed(rows, noise.change(samples.raw(rows), level, seeds))
    modality = samples.modality
    same = modality.same(modality.take(samples.stored, rows), modality.take(done.stored, rows))
    for row, equal in zip(rows, same, strict=True):
        if not equal:
            done.facts[row][DATA] = name
    return done
