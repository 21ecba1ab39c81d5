"""``bdm scan``: judge a model that somebody else made. There is no attack and no secret."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from bdm_cli import options, tables
from bdm_cli.console import command_line, out, print_json, warn

if TYPE_CHECKING:
    from bdm_core.plugin import Plugin

PREFERRED = "elijah"
BACKDOORED = 3
"""Exit code of ``bdm scan --exit-code`` if a defense calls the model backdoored."""


def scan(
    model: Annotated[str, typer.Argument(help="Folder, hf:org/name@commit, or built-in name.", metavar="MODEL")],
    defense: Annotated[
        list[str] | None,
        typer.Option(help=f"A defense that detects; repeat for more (default: {PREFERRED}).", metavar="NAME"),
    ] = None,
    data: options.DataReference = None,
    task: options.Task = None,
    kit: options.Kit = None,
    sets: options.Sets = None,
    config: options.Config = None,
    seed: options.Seed = None,
    device: options.Device = None,
    data_share: options.DataShare = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the store and the run folders.")] = Path("runs"),
    name: options.Name = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"Exit with {BACKDOORED} if a defense says backdoored.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    no_report: options.NoReport = False,
) -> None:
    """Judge a model: one verdict of each defense, with score, threshold and p-value."""
    from bdm_core.errors import UserError
    from bdm_core.run.runner import scan as scan_model
    from bdm_core.run.specification import load_spec

    given = {
        "model": model,
        "data": data,
        "task": task,
        "kit": kit,
        "seed": seed,
        "device": device,
        "data_share": data_share,
    }
    base = load_spec(config, given, sets or [])
    if base.attack is not None:
        raise UserError(f"{config}: a scan has no attack; use bdm run for attack {base.attack!r}")
    chosen = defense or ([base.detect] if base.detect else detectors(base.task))
    if name is not None and len(chosen) > 1:
        raise UserError("--name names one run folder: give one --defense with it")
    documents: list[dict[str, Any]] = []
    for detector in chosen:
        spec = base.model_copy(update={"detect": detector, "repair": None})
        with options.warnings_on_terminal():
            view = scan_model(
                options.with_progress(spec, quiet or as_json), out_folder, name=name, command=command_line()
            )
        if not options.leads():
            continue
        report = None if no_report else options.write_report(view)
        documents.append(options.document(view, report))
        if not as_json:
            for detection in view.record["detections"].values():
                console = out()
                line = tables.verdict_line(model, detection, detector)
                console.print(line, soft_wrap=not console.is_terminal)
            if report is not None:
                out().print(Text(f"report   {report}"), soft_wrap=True)
    if as_json:
        print_json({"model": model, "scans": documents})
    verdicts = [item["verdict"] for one in documents for item in one["record"]["detections"].values()]
    if exit_code and "backdoored" in verdicts:
        raise typer.Exit(BACKDOORED)


def detectors(task: str | None) -> list[str]:
    """The defenses to ask by default: Elijah if it is installed, else every installed one that detects for the task.

    Raises:
        UserError: no installed defense detects.
    """
    from bdm_core.discovery.candidates import installed
    from bdm_core.errors import PluginError, UserError
    from bdm_core.hooks import implements

    candidates = installed("defense")
    if any(item.name == PREFERRED for item in candidates):
        return [PREFERRED]
    names: list[str] = []
    for candidate in candidates:
        try:
            plugin: Plugin = candidate.load()
        except PluginError as error:
            warn(str(error))
            continue
        if implements(plugin, "detect") and (task is None or not plugin.tasks or task in plugin.tasks):
            names.append(f"{candidate.distribution}:{candidate.name}")
    if not names:
        raise UserError(f"no installed defense detects backdoors{f' for {task}' if task else ''} (bdm plugins list)")
    return names
