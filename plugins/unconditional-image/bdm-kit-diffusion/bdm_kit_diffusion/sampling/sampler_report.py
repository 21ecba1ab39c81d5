"""Which samplers set a backdoor off: ``python -m bdm_kit_diffusion.sampling.sampler_report RUN``, ``--help`` for more.

RUN is a run's folder with an attack in it. The backdoored model is sampled with every sampler that it can take, from
the same noise with and without the trigger, whatever the run itself used. A backdoor is made for one class of samplers
(:mod:`bdm_diffusers.coefficients`); the table says which class that is, which samplers belong to it, and what
happens.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_core.errors import BdmError, UserError
from bdm_core.records import Backdoored
from bdm_diffusers.samplers import backdoor_warnings, build_scheduler, default_steps, samplers_of, solver_class
from bdm_diffusers.sampling import SamplingOptions, draw_noise, sample
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model
from bdm_kit_diffusion.poison.secret import DiffusionSecret, open_secret
from bdm_kit_diffusion.poison.secret_facts import OWN_SAMPLER
from bdm_results.view import RunView

BACKDOORED = "backdoored model"
"""The label of the stage of a run that made the backdoored model."""


@dataclass(frozen=True)
class Choice:
    """One way to sample: the sampler's name, DDIM's eta, and the corrections at each level of sde-ve."""

    sampler: str
    eta: float = 0.0
    corrector_steps: int = 0

    @property
    def title(self) -> str:
        """The name, with what is unusual about it."""
        extra = f", eta {self.eta:g}" if self.eta else ""
        return self.sampler + extra + (", with corrector" if self.corrector_steps else "")


@dataclass(frozen=True)
class Row:
    """What one sampler makes of a backdoor.

    Attributes:
        sampler: its name, with eta or corrector.
        steps: it took.
        solver: its class: sde, ode or mixed.
        expected: whether the backdoor is of its class and this is a full chain, so that it should fire.
        asr: share of triggered samples with a mean squared error to the target below the threshold, in [0, 1].
        mse: mean of these errors, in units of [0, 1].
        leak: the share among samples without the trigger.
    """

    sampler: str
    steps: int
    solver: str
    expected: bool
    asr: float
    mse: float
    leak: float


def choices_for(model: DiffusionModel) -> list[Choice]:
    """Every sampler that the model can take; ddim also as an ancestral one, sde-ve also with its corrector."""
    names = [Choice(name) for name in samplers_of(model.scheduler)]
    if model.variance_exploding:
        return [*names, Choice("sde-ve", corrector_steps=1)]
    return [*names, Choice("ddim", eta=1.0)]


def sampler_report(
    model: DiffusionModel,
    secret: DiffusionSecret,
    *,
    samples: int = 64,
    seed: int = 0,
    threshold: float = 0.05,
    choices: Sequence[Choice] | None = None,
    on_row: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Sample a backdoored model with every sampler, with and without the trigger.

    Args:
        model: the backdoored model.
        secret: its trigger and target.
        samples: images with, and as many without the trigger.
        seed: of the noise, which all samplers share.
        threshold: of the mean squared error, in units of [0, 1].
        choices: see :func:`choices_for`.
        on_row: told each row when it is there.
    """
    backdoor = secret.facts.solver_class
    device = next(model.unet.parameters()).device
    clean = draw_noise(samples, model.shape, seed)
    starts = torch.cat([secret.add_to(clean), clean]).to(device)
    rows = []
    for choice in choices_for(model) if choices is None else choices:
        name, eta = choice.sampler, choice.eta
        steps = model.timesteps if eta == 1 else default_steps(name, model.timesteps)
        scheduler = build_scheduler(name, model.scheduler, corrector_steps=choice.corrector_steps)
        options = SamplingOptions(eta=eta, clip_states=model.clip_states)
        images = sample(model.unet, scheduler, starts, steps=steps, seed=seed, options=options)
        errors = squared_errors(model.decode(images).cpu(), secret.target)
        reasons: list[str] | None = None
        if backdoor is not None and backdoor != OWN_SAMPLER:
            reasons = backdoor_warnings(
                name,
                backdoor,
                steps=steps,
                train_timesteps=model.timesteps,
                eta=eta,
                corrector_steps=choice.corrector_steps,
            )
        hits = (errors < threshold).float()
        row = Row(
            choice.title,
            steps,
            solver_class(name, eta),
            reasons == [],
            float(hits[:samples].mean()),
            float(errors[:samples].mean()),
            float(hits[samples:].mean()),
        )
        rows.append(row)
        if on_row is not None:
            on_row(row)
    return rows


def squared_errors(images: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each image to the target, (N,), in units of [0, 1]; both in [-1, 1], clipped to it."""
    return ((images.clamp(-1, 1) - target.clamp(-1, 1)).double() / 2).square().flatten(1).mean(1)


def open_run(folder: Path, device: str) -> tuple[DiffusionModel, DiffusionSecret]:
    """The backdoored model of a run and its secret. Raises UserError if the run has none, or not of this task."""
    made = RunView(folder).result_of(BACKDOORED)
    if not isinstance(made, Backdoored):
        raise UserError(f"{folder} has no backdoored model: give the folder of a finished run with an attack")
    return load_model(made.model, device), open_secret(made.secret)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bdm_kit_diffusion.sampling.sampler_report", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--samples", type=int, default=64, help="images with, and as many without the trigger")
    parser.add_argument(
        "--threshold", type=float, default=0.05, help="mean squared error below which a sample is a hit"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args(arguments)
    if given.device == "cpu":
        torch.set_num_threads(1)
    try:
        if given.samples < 1:
            raise UserError(f"--samples must be at least 1, not {given.samples}")
        model, secret = open_run(given.run, given.device)
        if not given.json:
            print(f"the backdoor is made for samplers of class: {secret.facts.solver_class or 'not stated'}")
            print(line("sampler", "steps", "class", "expected", "ASR", "MSE", "leak"))
        rows = sampler_report(
            model,
            secret,
            samples=given.samples,
            seed=given.seed,
            threshold=given.threshold,
            on_row=None if given.json else lambda row: print(text_of(row), flush=True),
        )
    except BdmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if given.json:
        facts = {
            "solver_class": secret.facts.solver_class,
            "samples": given.samples,
            "threshold": given.threshold,
        }
        print(json.dumps({**facts, "rows": [asdict(row) for row in rows]}, indent=1))
    return 0


def text_of(row: Row) -> str:
    """A row of the printed table."""
    fires = "fires" if row.expected else "-"
    return line(row.sampler, row.steps, row.solver, fires, f"{row.asr:.3f}", f"{row.mse:.4f}", f"{row.leak:.3f}")


def line(*cells: Any) -> str:
    """Cells in columns."""
    widths = (24, 6, 6, 9, 6, 7, 6)
    return "  ".join(f"{cell!s:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
