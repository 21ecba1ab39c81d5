"""Judge a model that somebody else made: there is no attack and no secret."""

from __future__ import annotations

from bdm_core.errors import UserError
from bdm_core.machine.redaction import redact
from bdm_core.records import Detection
from bdm_core.run.cell import open_all, open_data
from bdm_core.run.handover import Handover
from bdm_core.run.preparation import Prepared
from bdm_core.run.record import RunFolder
from bdm_core.run.rows import Rows
from bdm_core.run.stages import StageRunner


def scan_model(cell: Prepared, stages: StageRunner, folder: RunFolder) -> dict[str, Detection]:
    """The detections by name of the defense.

    A defense that refuses the model (it is not of a kind that the method knows) is noted as not having judged it; the
    others go on. If all refuse, the first refusal is the error.
    """
    rows = Rows(stages, cell.kit, cell.spec.seed)
    model, data, inputs = open_all(cell, stages)
    handover = Handover(cell, stages, rows, start=model, data=data)
    found: dict[str, Detection] = {}
    refusals: list[UserError] = []
    for scanner in cell.scanners:
        name = scanner.plugin.name
        try:
            suspects = inputs
            if scanner.plugin.level == "data":
                training = open_data(cell, stages, model, cell.spec.training_data, "training data")
                suspects = rows.shuffled([training], "training rows")[0]
            found[name] = handover.detect(scanner, model, suspects, f"detection by {name}")
        except UserError as error:
            refusals.append(error)
            cell.passed_over[name] = redact(str(error))
    if not found:
        raise refusals[0]
    return found
