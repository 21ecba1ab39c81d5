"""The inversions of elijah, terd and diff-cleanse against the released loops: `python benchmarks/originals.py`.

The released loops are stated again in ``released_loops.py``. Both sides work on the same backdoored model from the
same start, in one process of one thread, in turns; times are CPU seconds, so that other load on the machine counts
little, and medians.

- Equal iterations: the same batch, the same number of iterations.
- Equal quality: the fewest iterations of a grid that reach what the released loop reaches with the most iterations of
  its grid. Quality is the cosine to the true trigger (elijah), the method's own loss on pairs that no step used (terd),
  and the share of similar images from fresh noise with the sampler's full steps (diff-cleanse).

Elijah's and TERD's model has an SDE backdoor, Diff-Cleanse's an ODE backdoor. The result goes to
``benchmarks/results/originals.json``; takes about five minutes on an idle core, with the training of two models.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from released_loops import (
    ELIJAH_BATCH,
    SAMPLES,
    STEPS,
    TERD_PAIRS,
    released_diff_cleanse,
    released_elijah,
    released_refinement,
    released_terd,
)
from torch import Tensor

from bdm_core import api
from bdm_defense_diff_cleanse.inversion import invert as invert_pattern
from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_defense_diff_cleanse.search import black_box, inverting_steps
from bdm_defense_diff_cleanse.similarity import mscr
from bdm_defense_terd.params import TerdParams
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.inversion.frozen import frozen
from bdm_kit_diffusion.inversion.pair_estimation import Descent, estimation_loss, optimise, refinement_loss
from bdm_kit_diffusion.inversion.pair_search import probe_of
from bdm_kit_diffusion.inversion.shift_search import inversion_noise
from bdm_kit_diffusion.inversion.starts import starting_points
from bdm_kit_diffusion.inversion.trigger_inversion import InversionOptions, invert
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.sampling.sampler_report import open_run

RESULTS = Path(__file__).parent / "results"
SETTINGS: dict[str, dict[str, Any]] = {
    "sde": {"vp_scale": 1.0, "poison_rate": 0.2},
    "ode": {"vp_scale": 1.5, "solver": "ode"},
}
PATTERN = DiffCleanseParams()
HALF = 0.5
"""Diff-Cleanse's inverting_share on the side with its own batch; the default is all steps, as with the same batch."""


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        released, same, ours: iterations -> trigger (C, H, W): the released loop, the plugin's with the published batch,
            the plugin's with its own.
        quality: of a trigger, higher is better.
        iterations: at which the speed of released and same is compared.
        released_grid, grid: numbers of iterations, for equal quality.
        tolerance: by which quality may be lower and still count as equal.
    """

    released: Callable[[int], Tensor]
    same: Callable[[int], Tensor]
    ours: Callable[[int], Tensor]
    quality: Callable[[Tensor], float]
    iterations: int
    released_grid: Sequence[int]
    grid: Sequence[int]
    tolerance: float


def backdoored(kind: str, work: Path) -> tuple[DiffusionModel, Tensor]:
    """The built-in digits model after ``attack:villan``, made once, and the true trigger."""
    params = {"attack:villan": SETTINGS[kind], "kit:diffusion": {"samples": 16}}
    view = api.run(attack="villan", metrics=["target"], params=params, device="cpu", out=work)
    model, secret = open_run(view.folder, "cpu")
    return model, secret.trigger


def elijah(model: DiffusionModel, true: Tensor) -> Case:
    """Cosine to the true trigger, from constant -1: at scale 1.5 neither side came to the trigger from -U(0,1)."""
    start, last = starting_points(model.shape, 0)["constant -1"], model.timesteps - 1
    released = copy.deepcopy(model.unet).requires_grad_(True)

    def ours(iterations: int, batch: int, antithetic: bool) -> Tensor:
        noise = inversion_noise(model.shape, batch, 0, antithetic)
        options = InversionOptions(iterations)
        return invert(model.unet, start[None], torch.tensor([0.5]), noise, last, options).triggers[0]

    return Case(
        lambda count: released_elijah(released, start, 0.5, last, count),
        lambda count: ours(count, ELIJAH_BATCH, False),
        lambda count: ours(count, 16, True),
        lambda trigger: float(torch.cosine_similarity(trigger.flatten(), true.flatten(), 0)),
        20,
        (5, 10, 15, 20, 30, 50),
        (5, 10, 15, 20, 30, 50),
        0.01,
    )


def terd(model: DiffusionModel) -> Case:
    """Minus the loss on pairs that no step used, of stage 1 from -U(0,1); gamma = 1 on both sides."""
    params, start = TerdParams(), starting_points(model.shape, 0)["-U(0,1)"]
    probe, one = probe_of(model, params), torch.ones(1, *model.shape)
    released = copy.deepcopy(model.unet).requires_grad_(True)

    def ours(iterations: int, pairs: int) -> Tensor:
        with frozen(model.unet):
            descent = Descent(iterations, 0, params.estimation_learning_rate, 0.0, params.norm_weight)
            return optimise(
                lambda r, gamma, step: estimation_loss(probe, r, gamma, pairs, step), start[None], one, descent
            )[0][0]

    def quality(trigger: Tensor) -> float:
        with torch.no_grad():
            return -float(estimation_loss(probe, trigger[None], one, 256, 2**31))

    return Case(
        lambda count: released_terd(released, (probe.a, probe.s), probe.window, start, count, params.norm_weight),
        lambda count: ours(count, TERD_PAIRS),
        lambda count: ours(count, params.pairs),
        quality,
        25,
        (50, 100, 150, 200),
        (50, 100, 150, 200, 250, 300),
        0.0005,
    )


def refinement(model: DiffusionModel, repeats: int) -> dict[str, float]:
    """CPU seconds of an iteration of TERD's stage 2, with the published 16 pairs and with the plugin's own number."""
    params, start = TerdParams(), starting_points(model.shape, 0)["-U(0,1)"]
    probe, gamma = probe_of(model, params), torch.ones(1, *model.shape)
    released = copy.deepcopy(model.unet).requires_grad_(True)

    def ours(pairs: int) -> None:
        with frozen(model.unet):
            r = start[None].clone().requires_grad_(True)
            refinement_loss(probe, r, gamma, pairs, 0).sum().backward()

    scheduler = DDIMScheduler.from_config(model.scheduler.config, clip_sample=False)
    levels, windows = (probe.a, probe.s), (probe.window, probe.chain)
    sides: dict[str, Callable[[], Any]] = {
        "released": lambda: released_refinement(released, scheduler, levels, windows, start),
        "same batch": lambda: ours(TERD_PAIRS),
        "own batch": lambda: ours(params.refinement_pairs),
    }
    times = in_turns(sides, max(repeats, 5))
    return {name: round(value, 4) for name, value in times.items()}


def diff_cleanse(model: DiffusionModel) -> Case:
    """MSCR of 64 images from fresh noise by DDIM with 20 steps, from the published random start -U(0,1)."""
    start = starting_points(model.shape, 0)["-U(0,1)"]
    noise = draw_noise(SAMPLES + 64, model.shape, 0)
    fitting, fresh = noise[:SAMPLES], noise[SAMPLES:]
    released = copy.deepcopy(model.unet).requires_grad_(True)
    scheduler = DDIMScheduler.from_config(model.scheduler.config, clip_sample=False)
    full = black_box(model, "ddim", STEPS, 0, "cpu")
    quick = black_box(model, "ddim", inverting_steps("ddim", STEPS, model.timesteps, HALF), 0, "cpu")

    def ours(generate: Any, count: int) -> Tensor:
        return invert_pattern(generate, start[None], fitting, count, PATTERN)[0][0].shift

    return Case(
        lambda count: released_diff_cleanse(released, scheduler, start, fitting, PATTERN, count),
        lambda count: ours(full, count),
        lambda count: ours(quick, count),
        lambda trigger: mscr(full(trigger[None], fresh)[0], PATTERN.similarity),
        3,
        (1, 2, 3, 4, 5, 8),
        (1, 2, 3, 4, 5, 8),
        1 / 64,
    )


def in_turns(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each, called in turns; once unmeasured before."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(repeats + 1):
        for name, work in sides.items():
            before = time.process_time()
            work()
            if round_:
                spent[name].append(time.process_time() - before)
    return {name: statistics.median(values) for name, values in spent.items()}


def least(work: Callable[[int], Tensor], grid: Sequence[int], case: Case, wanted: float) -> int | None:
    """The fewest iterations of a grid that reach a quality; None if none does."""
    return next((count for count in grid if case.quality(work(count)) >= wanted - case.tolerance), None)


def compare(case: Case, repeats: int) -> dict[str, Any]:
    """Seconds an iteration at equal batch and iterations, and seconds to equal quality."""
    count = case.iterations
    equal = in_turns({"released": lambda: case.released(count), "same batch": lambda: case.same(count)}, repeats)
    wanted = case.quality(case.released(max(case.released_grid)))
    sides = {"released": case.released, "same batch": case.same, "own batch": case.ours}
    grids = {"released": case.released_grid, "same batch": case.grid, "own batch": case.grid}
    needed = {name: least(work, grids[name], case, wanted) for name, work in sides.items()}
    reached = {name: number for name, number in needed.items() if number is not None}
    work = {name: lambda name=name, number=number: sides[name](number) for name, number in reached.items()}
    spent = in_turns(work, repeats)
    return {
        "iterations": count,
        "seconds_an_iteration": {name: round(value / count, 5) for name, value in equal.items()},
        "times_as_fast_at_equal_iterations": round(equal["released"] / equal["same batch"], 2),
        "quality": round(wanted, 5),
        "iterations_to_quality": needed,
        "seconds_to_quality": {name: round(value, 3) for name, value in spent.items()},
        "times_as_fast_to_quality": {name: round(spent["released"] / value, 2) for name, value in spent.items()},
    }


def main() -> None:
    """Measure all three and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-originals"))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    (sde, true), (ode, _) = backdoored("sde", arguments.work), backdoored("ode", arguments.work)
    lines: dict[str, Any] = {}
    for name, case in (("elijah", elijah(sde, true)), ("terd", terd(sde)), ("diff-cleanse", diff_cleanse(ode))):
        lines[name] = compare(case, arguments.repeats)
        print(name, json.dumps(lines[name]), flush=True)
    lines["terd"]["seconds_an_iteration_of_stage_2"] = refinement(sde, arguments.repeats)
    machine = {"processor": platform.machine(), "threads": 1, "torch": torch.__version__, "repeats": arguments.repeats}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "originals.json"
    path.write_text(json.dumps({"machine": machine, **lines}, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
