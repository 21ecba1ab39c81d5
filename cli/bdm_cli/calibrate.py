"""``bdm calibrate``: the calibration file of a one-class detector, from clean models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bdm_cli import options as shared
from bdm_cli.around import at_work, leads
from bdm_cli.console import out, say


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions(shared.Common):
    """The options of ``bdm calibrate``."""

    defense: Annotated[str, typer.Argument(help="A defense with a calibration.", metavar="DEFENSE")]
    model: Annotated[
        list[str] | None,
        typer.Option(help="A clean model; repeat for more (default: all built-in ones of the task).", metavar="REF"),
    ] = None
    file: Annotated[
        Path | None, typer.Option("--out", help="File to write (default: calibration-DEFENSE.json).", metavar="FILE")
    ] = None
    store: Annotated[Path, typer.Option(help="Folder of the store, as of bdm run --out.", metavar="DIR")] = Path("runs")
    task: shared.Task = None
    kit: shared.Kit = None
    sets: shared.Sets = None
    seed: shared.Seed = None
    device: shared.Device = None


@shared.takes(CalibrateOptions)
def calibrate(options: CalibrateOptions) -> None:
    """Write the calibration file of a one-class detector from models that are known to be clean, at least three.

    Without --model it takes the built-in models of the task. bdm run and bdm scan use the file by
    --set defense:NAME.calibration=FILE.
    """
    from bdm_cli.calibration import write_calibration
    from bdm_cli.specification import load_specification
    from bdm_core.machine.redaction import redact

    given = {name: getattr(options, name) for name in ("task", "kit", "seed", "device")}
    spec = load_specification(None, {**given, "detect": options.defense}, options.sets or [])
    file = options.file or Path(f"calibration-{options.defense.rpartition(':')[2]}.json")
    with at_work():
        models = write_calibration(
            spec, options.model or [], file, options.store, say if leads() else lambda line: None
        )
    if leads():
        out().print(Text(f"wrote {file} from {len(models)} clean models: {redact(', '.join(models))}"), soft_wrap=True)
        name = options.defense.rpartition(":")[2]
        out().print(Text(f"use it by --set defense:{name}.calibration={file}"), soft_wrap=True)
