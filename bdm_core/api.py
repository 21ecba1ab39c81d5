"""The Python interface: what the command line does, as functions.

::

    from bdm_core import api

    view = api.run(attack="villan", defense="elijah", params={"attack:villan": {"poison_rate": 0.2}})
    view.results                      # one dictionary a number
    api.scan("./some-model").verdict  # "backdoored", "clean" or "not identifiable"
    api.results("runs")               # all numbers of all runs, a dictionary each

Every error that can be expected is a :class:`bdm_core.errors.BdmError`: one line that says what was wrong, where, and
what to do. Nothing is printed; warnings go to the logger ``bdm``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core.discovery.tasks import built_in
from bdm_core.run import runner
from bdm_core.run.specification import specify

if TYPE_CHECKING:
    from bdm_results.view import RunView

OUT = Path("runs")


def run(*, out: str | Path = OUT, name: str | None = None, command: str = "", **options: Any) -> RunView:
    """Attack a model, defend it, score everything.

    Args:
        out: folder for the store and the run folders.
        name: name of the run's folder.
        command: the command line, for the record.
        options: fields of :class:`bdm_core.run.specification.RunSpec`, ``attack`` among them.

    Raises:
        BdmError: one line that says what was wrong, where, and what to do.

    >>> run(attack="no-such-attack")
    Traceback (most recent call last):
        ...
    bdm_core.errors.PluginError: no attack 'no-such-attack' is installed; installed: ...
    """
    return runner.run(specify(options), Path(out), name=name, command=command)


def scan(
    model: str | Path, *, out: str | Path = OUT, name: str | None = None, command: str = "", **options: Any
) -> RunView:
    """Judge a model that somebody else made. ``view.verdict`` is the answer of all detectors together.

    The task follows from the model, unless ``task`` names it. ``view.record`` has each detector's answer in
    ``detections``, and in ``not_checked`` why the others gave none.

    Args:
        model: built-in name, folder, or ``hf:org/name@commit``.
        out: folder for the store and the run folders.
        name: name of the run's folder.
        command: the command line, for the record.
        options: further fields of :class:`bdm_core.run.specification.RunSpec`, e.g. ``detectors``.

    Raises:
        BdmError: one line that says what was wrong, where, and what to do.

    >>> scan("./nowhere", task="unconditional-image-generation")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: ./nowhere does not exist: give a folder, hf:org/name@commit, or a built-in name
    """
    return runner.scan(specify({**options, "model": str(model)}), Path(out), name=name, command=command)


def results(folder: str | Path = OUT) -> list[dict[str, Any]]:
    """Every number of every complete run in a folder, a dictionary each, oldest run first.

    Returns:
        Rows with ``run``, ``attack``, ``detect``, ``purify``, ``repair``, ``task``, ``model``, ``data``, ``seed``,
        ``row``, ``role``, ``metric``, ``value``, ``stderr``, ``n``, ``label``, ``verdict``, ..., and one
        ``KIND:NAME.PARAMETER`` for each parameter.

    Raises:
        UserError: there are no runs.

    >>> results("nowhere")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: no runs in nowhere: give the folder that `bdm run --out` wrote to
    """
    from bdm_results.rows import rows_in  # reading runs is no part of the core

    return rows_in(Path(folder))


def models(task: str | None = None) -> list[dict[str, Any]]:
    """The built-in models of all installed kits: name, task, summary, size, quality, kit, default.

    >>> [item["name"] for item in models("unconditional-image-generation")][0]
    'digits-ddpm'
    """
    return built_in("models", task)


def data_sets(task: str | None = None) -> list[dict[str, Any]]:
    """The built-in data sets of all installed kits, with the same keys as :func:`models`.

    >>> [item["name"] for item in data_sets("unconditional-image-generation")][:2]
    ['digits', 'shapes']
    """
    return built_in("data_sets", task)
