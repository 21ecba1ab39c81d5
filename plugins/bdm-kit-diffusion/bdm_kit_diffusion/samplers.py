"""The samplers by name: which diffusers scheduler each one is, and which class of backdoor it can set off."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import diffusers
import numpy as np

from bdm_core.errors import UserError
from bdm_kit_diffusion.coefficients import Solver

SolverClass = Literal["sde", "ode", "mixed"]
MINIMUM_TRIGGER_NORM = 6.0
"""Below this ||r||_2 clean and triggered noise overlap, and backdoors fail or fire without their trigger."""


@dataclass(frozen=True)
class SamplerSpec:
    """One sampler: the diffusers class, the options that make it what its name says, its solver class.

    default_steps 0 stands for every timestep of the model.
    """

    scheduler: str
    solver: Solver
    default_steps: int
    options: Mapping[str, Any] = field(default_factory=dict)


def _dpm(order: int, algorithm: str) -> SamplerSpec:
    final = "zero" if algorithm == "dpmsolver++" else "sigma_min"
    options = {"solver_order": order, "algorithm_type": algorithm, "final_sigmas_type": final}
    return SamplerSpec("DPMSolverMultistepScheduler", "ode", 20, options)


SAMPLERS: dict[str, SamplerSpec] = {
    "ddpm": SamplerSpec("DDPMScheduler", "sde", 0),
    "euler-ancestral": SamplerSpec("EulerAncestralDiscreteScheduler", "sde", 0),
    "ddim": SamplerSpec("DDIMScheduler", "ode", 20, {"set_alpha_to_one": True}),
    "pndm": SamplerSpec("PNDMScheduler", "ode", 20, {"skip_prk_steps": True, "set_alpha_to_one": True}),
    "deis": SamplerSpec("DEISMultistepScheduler", "ode", 20, {"solver_order": 2}),
    "dpm-solver-1": _dpm(1, "dpmsolver"),
    "dpm-solver-2": _dpm(2, "dpmsolver"),
    "dpm-solver-3": _dpm(3, "dpmsolver"),
    "dpm-solver++-1": _dpm(1, "dpmsolver++"),
    "dpm-solver++-2": _dpm(2, "dpmsolver++"),
    "dpm-solver++-3": _dpm(3, "dpmsolver++"),
    "unipc": SamplerSpec("UniPCMultistepScheduler", "ode", 20, {"solver_order": 2}),
    "heun": SamplerSpec("HeunDiscreteScheduler", "ode", 20),
    "lms": SamplerSpec("LMSDiscreteScheduler", "ode", 20),
    "euler": SamplerSpec("EulerDiscreteScheduler", "ode", 20),
}


def sampler_spec(name: str) -> SamplerSpec:
    """The entry of SAMPLERS. Raises UserError with the nearest name for an unknown one."""
    if name in SAMPLERS:
        return SAMPLERS[name]
    near = difflib.get_close_matches(name, SAMPLERS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(SAMPLERS)}"
    raise UserError(f"unknown sampler {name!r}: {hint}")


def solver_class(name: str, eta: float = 0.0) -> SolverClass:
    """'sde' or 'ode': the class of backdoor that this sampler sets off.

    DDIM with eta 1 is ancestral ("sde"); with eta between 0 and 1 it is neither ("mixed").
    """
    solver = sampler_spec(name).solver
    if name == "ddim" and eta > 0:
        return "sde" if eta == 1 else "mixed"
    return solver


def default_steps(name: str, train_timesteps: int) -> int:
    """The steps a sampler takes when none are asked for: all for the ancestral ones, at most 20 for the others."""
    steps = sampler_spec(name).default_steps or train_timesteps
    return steps if train_timesteps % steps == 0 else max(d for d in range(1, steps + 1) if train_timesteps % d == 0)


def build_scheduler(name: str, base: Any) -> Any:
    """A diffusers scheduler for the sampler `name` with exactly the noise schedule of `base`.

    base: a scheduler or its config (a mapping, as in scheduler_config.json). The betas are handed over as numbers:
    diffusers' `from_config` drops values that were defaults of the old class in favour of the new class's own defaults,
    which gives HeunDiscreteScheduler another noise schedule than its model was trained with. Timesteps are spaced
    "trailing", so that the first one is T-1, where x_T is really noise; clipping and thresholding are off.
    Raises UserError for an unknown name or a base that is no discrete-time diffusers scheduler.
    """
    spec = sampler_spec(name)
    if isinstance(base, Mapping):
        base = _scheduler_of(base)
    betas = getattr(base, "betas", None)
    if betas is None:
        raise UserError(f"cannot sample with {name!r}: the model's {type(base).__name__} has no betas (no VP schedule)")
    cls = getattr(diffusers, spec.scheduler)
    settings = {"num_train_timesteps": len(betas), "trained_betas": betas.double().cpu().numpy().astype(np.float32),
                "timestep_spacing": "trailing", "clip_sample": False, "thresholding": False}
    kept = ("prediction_type", "variance_type", "clip_sample_range")
    settings |= {key: base.config[key] for key in kept if base.config.get(key) is not None}
    if spec.scheduler != "DDPMScheduler":
        settings.pop("variance_type", None)
    known = inspect.signature(cls.__init__).parameters
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # diffusers 1.0 will drop "dpmsolver"
        return cls(**{key: value for key, value in settings.items() if key in known}, **spec.options)


def _scheduler_of(config: Mapping[str, Any]) -> Any:
    cls = getattr(diffusers, str(config.get("_class_name", "DDPMScheduler")), None)
    if not (isinstance(cls, type) and issubclass(cls, diffusers.SchedulerMixin) and hasattr(cls, "from_config")):
        raise UserError(f"the scheduler config names {config.get('_class_name')!r}, which is no diffusers scheduler")
    return cls.from_config(dict(config))


def check_steps(scheduler: Any, steps: int) -> None:
    """Raise UserError where diffusers would quietly sample with wrong noise levels, or divide by zero.

    DDIM and PNDM step by floor(T/steps) whatever their timesteps are; solvers that end at the smallest sigma need a
    last step of positive length.
    """
    total = int(scheduler.config.num_train_timesteps)
    kind = type(scheduler).__name__
    if not 1 <= steps <= total:
        raise UserError(f"steps must be between 1 and the model's {total} timesteps, not {steps}")
    if kind in ("DDIMScheduler", "PNDMScheduler") and (total / steps) / (total // steps) > 1.02:
        below = max(d for d in range(1, steps + 1) if total % d == 0)
        above = min(d for d in range(steps, total + 1) if total % d == 0)
        raise UserError(f"{kind} needs a number of steps that divides {total}: not {steps} but {below} or {above}")
    ends_at_sigma_min = kind == "DEISMultistepScheduler" or scheduler.config.get("final_sigmas_type") == "sigma_min"
    if ends_at_sigma_min and round(total / steps) <= 1:
        raise UserError(f"{kind} cannot take {steps} of {total} steps: its last step would have no length; "
                        f"use at most {total // 2}")


def backdoor_warnings(
    sampler: str,
    backdoor: Solver,
    *,
    steps: int | None = None,
    train_timesteps: int | None = None,
    trigger_norm: float | None = None,
    eta: float = 0.0,
) -> list[str]:
    """One line for each reason why a backdoor of class `backdoor` cannot be expected to fire under `sampler`.

    steps and train_timesteps: of the sampling; an ancestral chain shorter than the model's breaks an SDE backdoor.
    trigger_norm: ||r||_2 of the trigger image over all its values in [-1,1].
    """
    lines = []
    kind = solver_class(sampler, eta)
    named = f"{sampler} (eta={eta:g})" if sampler == "ddim" and eta else sampler
    if kind != backdoor:
        use = "ddpm with all steps" if backdoor == "sde" else "a deterministic sampler such as ddim"
        what = "partly stochastic" if kind == "mixed" else f"of class {kind!r}"
        lines.append(f"sampler {named} is {what}, the backdoor of class {backdoor!r}: it will not fire; use {use}")
    elif kind == "sde" and steps is not None and train_timesteps is not None and steps < train_timesteps:
        lines.append(f"{named} with {steps} of {train_timesteps} steps breaks an SDE backdoor: take all of them")
    if trigger_norm is not None and trigger_norm < MINIMUM_TRIGGER_NORM:
        lines.append(f"the trigger's norm ||r||_2 = {trigger_norm:.2f} is below {MINIMUM_TRIGGER_NORM:.2f}: clean and "
                     "triggered noise overlap, so the backdoor will be weak or leak into clean samples")
    return lines
