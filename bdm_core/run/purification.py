"""Inputs on their way through a defense at inference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from bdm_core.artifacts import ROWS, Data, Model, rows_of
from bdm_core.context import Context
from bdm_core.errors import PluginError
from bdm_core.files import link_or_copy
from bdm_core.records import Detection, Purified
from bdm_core.run.handover import Handover
from bdm_core.run.preparation import Loaded
from bdm_core.run.rows import count_of


class Passed(NamedTuple):
    """The inputs that the model gets to see, and how many were turned away."""

    passed: Data
    rejected: int


def purify(
    handover: Handover, purifier: Loaded, model: Model, inputs: Data, detection: Detection | None, label: str
) -> Passed:
    """Let a defense purify inputs. It is not told which they are; what their rows say is put back afterwards.

    Raises:
        PluginError: another number of rows, or of flags.
    """
    blind = handover.rows.blind(inputs, f"{label}, blind")

    def restored(value: Purified, ctx: Context) -> Purified:
        counts = (count_of(value.inputs), len(value.rejected) or count_of(inputs))
        if counts != (count_of(inputs), count_of(inputs)):
            raise PluginError(
                f"{purifier.id} returned {counts[0]} rows and {counts[1]} flags for {count_of(inputs)} inputs"
            )
        flags = value.rejected or [False] * count_of(inputs)
        return Purified(inputs=_with_facts(value.inputs, inputs, blind, ctx.out / "inputs"), rejected=flags)

    given = {"inputs": blind, "detection": detection}
    identity = {"facts": inputs}
    found: Purified = handover.purify(purifier, model, given, label=label, finish=restored, identity=identity)
    kept = [row for row, rejected in enumerate(found.rejected) if not rejected]
    if len(kept) == len(found.rejected):
        return Passed(found.inputs, 0)
    return Passed(handover.rows.select([found.inputs], kept, f"{label} that pass"), len(found.rejected) - len(kept))


def _with_facts(purified: Data, original: Data, blind: Data, folder: Path) -> Data:
    """The purified rows with what ``blind`` had left out of the original ones."""
    if ROWS not in original.files or ROWS not in purified.files or purified.digest == blind.digest == original.digest:
        return purified
    lines = []
    for new, old, seen in zip(rows_of(purified), rows_of(original), rows_of(blind), strict=True):
        hidden = {key: value for key, value in old.items() if key not in seen}
        lines.append(json.dumps({**hidden, **new}, sort_keys=True) + "\n")
    for name in purified.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name == ROWS:
            (folder / ROWS).write_text("".join(lines), encoding="utf-8")
        else:
            link_or_copy(purified.path / name, folder / name)
    return Data.seal(folder, format=purified.format, task=purified.task, meta=purified.meta)
