"""The Python interface: what the command line does, as functions.

::

    import bdm_core as bdm

    view = bdm.run(attack="villan", defense="elijah", params={"attack:villan": {"poison_rate": 0.2}})
    view.results                      # one dictionary a number
    bdm.scan("./some-model").verdict  # "backdoored", "clean" or "not identifiable"
    bdm.results("runs")               # all numbers of all runs, a dictionary each
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bdm_core.run import runner
from bdm_core.run.record import RunView, rows_in
from bdm_core.run.specification import specify

OUT = Path("runs")


def run(*, out: str | Path = OUT, name: str | None = None, **options: Any) -> RunView:
    """Attack a model, defend it, score everything.

    Args:
        out: folder for the store and the run folders.
        name: name of the run's folder.
        options: fields of :class:`bdm_core.run.specification.RunSpec`, ``attack`` among them.

    Raises:
        BdmError: one line that says what was wrong, where, and what to do.
    """
    return runner.run(specify(options), Path(out), name=name)


def scan(model: str | Path, *, out: str | Path = OUT, name: str | None = None, **options: Any) -> RunView:
    """Judge a model that somebody else made. ``view.verdict`` is the answer of all detectors together.

    Args:
        model: built-in name, folder, or ``hf:org/name@commit``.
        out: folder for the store and the run folders.
        name: name of the run's folder.
        options: further fields of :class:`bdm_core.run.specification.RunSpec`, e.g. ``detectors``.

    Raises:
        BdmError: one line that says what was wrong, where, and what to do.
    """
    return runner.scan(specify({**options, "model": str(model)}), Path(out), name=name)


def results(folder: str | Path = OUT) -> list[dict[str, Any]]:
    """Every number of every complete run in a folder, a dictionary each, oldest run first.

    Returns:
        Rows with ``run``, ``attack``, ``detect``, ``purify``, ``repair``, ``task``, ``seed``, ``row``, ``role``,
        ``metric``, ``value``, ``stderr``, ``n``, ``label``, ..., and one ``KIND:NAME.PARAMETER`` for each parameter.

    Raises:
        UserError: there are no runs.
    """
    return rows_in(Path(folder))
