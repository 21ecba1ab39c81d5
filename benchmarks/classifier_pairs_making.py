"""What pairs need that is made once: the deeper clean model; MNTD's meta classifier for each model and seed."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swept import PLANS

from bdm_core.records import Detection
from bdm_results.view import RunView
from bdm_sweep import Plan, read_plan, sweep
from bdm_sweep.cells import Cell, Preparation, cells_of
from bdm_sweep.plan import Method

MODELS: Mapping[str, Sequence[str]] = {
    "./runs/classifier-models/clutter-preact-resnet18": (
        *("--data", "clutter", "--network", "preact-resnet18", "--width", "16", "--shift", "1"),
    )
}
"""Model folders of plans -> what the kit's recipe for clean models is asked for."""
SHARED = "mntd"
"""The defense that trains shadow models, which depend on the architecture, the clean rows and the seed alone."""
OTHER_NETWORK = ("trojannet",)
"""Attacks after which the judged network is not that of the clean model."""


def make_models(plan: Plan) -> None:
    """Train the clean models of a plan that are not built in and not there yet."""
    for reference in plan.models:
        if reference in MODELS and not Path(reference).exists():
            Path(reference).parent.mkdir(parents=True, exist_ok=True)
            command = ["-m", "bdm_kit_classification.recipes.clean_model", *MODELS[reference], "--out", reference]
            subprocess.run([sys.executable, *command], check=True)


@dataclass(frozen=True)
class Meta:
    """A meta classifier of MNTD.

    Attributes:
        folder: the evidence of the detection that made it.
        seconds: what that detection took.
    """

    folder: Path
    seconds: float


class MetaClassifiers:
    """Makes them, each once.

    Args:
        work: folder of the runs.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        self._made: dict[tuple[str, int, str], Meta] = {}

    def of(self, plan: Plan, model: str, seed: int) -> Meta:
        """That which MNTD makes of a clean model with the settings of a plan, by a scan of it, which runs if it must.

        A scan has the seed of the run's detection, so that it is the one which each pair would make anew.
        """
        own = [item for item in plan.defenses if item.name == SHARED]
        key = (model, seed, str(own[0].params))
        if key not in self._made:
            options = {name: plan.options[name] for name in ("task", "data_share") if name in plan.options}
            scan = Plan(scan=True, models=[model], defenses=own, seeds=[seed], options=options)
            done = sweep(scan, out=self._work, params={"workers": 1})
            if not done.complete:
                raise RuntimeError(f"no meta classifier of {model}, seed {seed}: {done.failed or done.impossible}")
            view = RunView(done.complete[0])
            label = f"detection by {SHARED}"
            found, stage = view.result_of(label), view.stage(label)
            assert isinstance(found, Detection) and found.evidence is not None and stage is not None
            self._made[key] = Meta(found.evidence.path.resolve(), round(float(stage["seconds"]), 1))
        return self._made[key]


@contextmanager
def made_ahead(part: str, work: Path, wanted: Sequence[tuple[str, int]]) -> Iterator[None]:
    """Within this, another process of low priority makes meta classifiers; who needs one early waits for it.

    Args:
        part: name of the plan.
        work: folder of the runs.
        wanted: models and seeds.
    """
    if not wanted:
        yield
        return
    command = [sys.executable, __file__, part, str(work), *(f"{model}={seed}" for model, seed in wanted)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def given_meta(plan: Plan, meta: Meta) -> Plan:
    """A plan of MNTD alone, which is handed a meta classifier."""
    own = [_with_parameter(item, meta.folder) for item in plan.defenses if item.name == SHARED]
    return plan.model_copy(update={"defenses": own})


def _with_parameter(method: Method, folder: Path) -> Method:
    return method.model_copy(update={"params": {**method.params, "meta_classifier": str(folder)}})


def planned_by_swept(plan: Plan, swept: Plan, preparation: Preparation) -> dict[str, Cell]:
    """Name of a cell that is run -> the plan's cell for which it stands, which keeps its own name and parameters."""
    planned = [cell for cell in cells_of(plan, preparation).possible if cell.spec.defense == SHARED]
    return {one.name: other for one, other in zip(cells_of(swept, preparation).possible, planned, strict=True)}


def main() -> None:
    """Make meta classifiers of MNTD at low priority: PLAN WORK MODEL=SEED..."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("part")
    parser.add_argument("work", type=Path)
    parser.add_argument("wanted", nargs="+", metavar="MODEL=SEED")
    given = parser.parse_args()
    os.nice(19)
    plan, metas = read_plan(PLANS / f"{given.part}.yaml"), MetaClassifiers(given.work)
    for text in given.wanted:
        model, _, seed = text.rpartition("=")
        metas.of(plan, model, int(seed))


if __name__ == "__main__":
    main()
