"""``bdm scan``: judge a model that somebody else made. There is no attack and no secret."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from bdm_cli import around, tables
from bdm_cli.console import command_line, one_line, out, print_json
from bdm_cli.options import Running, takes

EXIT_CODES = {"clean": 0, "backdoored": 3, "not identifiable": 4}
"""Overall verdict -> exit code of ``bdm scan --exit-code``."""
RUN_ONLY = ("attack", "purify", "repair", "metrics", "scan_clean", "repair_always", "triggered_share")
"""Fields of a configuration file that say nothing to a scan."""


@dataclass(frozen=True, kw_only=True)
class ScanOptions(Running):
    """The options of ``bdm scan``."""

    model: Annotated[
        str,
        typer.Argument(
            help="Folder of a model or of a run, hf:org/name@commit, or built-in name (bdm models).", metavar="MODEL"
        ),
    ]
    row: Annotated[
        str | None,
        typer.Option(
            "--row", help="Of a run's folder: backdoored, repaired or clean (default: backdoored).", metavar="ROW"
        ),
    ] = None
    detect: Annotated[
        list[str] | None,
        typer.Option(
            "--detect",
            "--defense",
            help="A defense that detects; repeat for more (default: every one that applies).",
            metavar="NAME",
        ),
    ] = None
    training_data: Annotated[
        str | None, typer.Option(help="What the model was trained on, for detectors that judge it.", metavar="REF")
    ] = None
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 3 if backdoored, 4 if no detector can tell; else with 0.")
    ] = False
    sarif: Annotated[
        Path | None, typer.Option("--sarif", help="Also write what was found as SARIF 2.1.0.", metavar="FILE")
    ] = None


@takes(ScanOptions)
def scan(options: ScanOptions) -> None:
    """Judge a model: one verdict of each detector, and one of all together.

    The task follows from the model's folder or built-in name; --task says it otherwise. Of a run's folder the
    backdoored model is judged, or the one of --row.

    Exit code: 0, whatever the verdict; with --exit-code 0 clean, 3 backdoored, 4 cannot tell. 2 wrong input, 1 a stage
    failed, 130 or 143 interrupted.
    """
    from bdm_cli.overall import answer
    from bdm_cli.recognition import task_to_scan
    from bdm_cli.run_models import model_in
    from bdm_core import api
    from bdm_core.machine.redaction import redact

    fields = around.specification(options, {"training_data": options.training_data})
    judged = model_in(options.model, options.row)
    fields = {**_for_scan(fields, options.config), "model": judged.reference}
    if options.detect:
        fields["detectors"] = list(dict.fromkeys(options.detect))
    if fields.get("task") is None:
        named = [("defense", name) for name in fields.get("detectors") or []]
        fields["task"] = task_to_scan(judged.reference, named, kit=fields.get("kit"))
    if options.sarif is not None:
        check_target(options.sarif)
    with around.at_work():
        view = api.scan(out=options.out, name=options.name, command=command_line(), **fields)
    if around.leads():
        found = answer(view)
        with around.answer_first() as failures:
            report = None if options.no_report else failures.of(around.write_report, view)
            model = redact(judged.said)
            if options.as_json:
                print_json({"model": model, **found, **around.document(view, report)})
            else:
                show(found, model, report)
            if options.sarif is not None:
                from bdm_cli import sarif

                opened = view.artifact("model")
                sarif.write(options.sarif, found, opened, version=metadata.version("bdm"), command=command_line())
    if options.exit_code:
        raise typer.Exit(EXIT_CODES[view.verdict])


def check_target(file: Path) -> None:
    """Raises UserError for a place where no file can be written, before anything is computed."""
    from bdm_core.errors import UserError

    parent = next(folder for folder in file.absolute().parents if folder.exists())
    if file.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"cannot write {file}: name a file in a folder that can be written to")


def _for_scan(fields: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """The fields of a specification as a scan takes them; ``detect`` or ``defense`` of a file name the detector."""
    from bdm_core.errors import UserError

    extra = next((name for name in RUN_ONLY if fields.get(name)), None)
    if extra is not None:
        raise UserError(f"{config}: a scan has no option {extra!r}; use bdm run, or leave it out")
    named = fields.pop("detect", None) or fields.pop("defense", None)
    fields = {name: value for name, value in fields.items() if name not in (*RUN_ONLY, "defense")}
    return fields if named is None else {"detectors": [named], **fields}


def show(found: dict[str, Any], model: str, report: Path | None) -> None:
    """Print the table of all detectors, the overall verdict, and what was not checked."""
    from bdm_cli.overall import left_out, remarks

    console = out()
    tables.print_detectors(console, found["checked"])
    console.print()
    console.print(tables.overall(model, found["verdict"], found["checked"]), soft_wrap=not console.is_terminal)
    for remark in remarks(found):
        console.print(Text(one_line(remark)), soft_wrap=not console.is_terminal)
    for names, reason in left_out(found):
        console.print(Text(f"not checked: {', '.join(names)}: {one_line(reason)}"), soft_wrap=not console.is_terminal)
    if report is not None:
        console.print(Text(f"report   {report}"), soft_wrap=True)
