"""The samplers by name: which diffusers scheduler each one is, and which class of backdoor it can set off."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import diffusers
import numpy as np

from bdm_core.errors import UserError, nearest
from bdm_diffusers.coefficients import Solver
from bdm_diffusers.predictor_corrector import PredictorCorrectorScheduler
from bdm_diffusers.score_network import is_variance_exploding

SolverClass = Literal["sde", "ode", "mixed"]
MINIMUM_TRIGGER_NORM = 6.0
"""Below this ||r||_2 clean and triggered noise overlap, and backdoors fail or fire without their trigger."""
SAFE_TRIGGER_NORM = {"ode": 8.0, "sde": 12.0}
"""Norms at which backdoors of each class work: at 8 an ancestral chain leaves the trigger's path in 1 to 5 of 100
samples even of a perfect model."""


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

VE_SAMPLERS: dict[str, SamplerSpec] = {
    "sde-ve": SamplerSpec("PredictorCorrectorScheduler", "sde", 0),
    "ode-ve": SamplerSpec("PredictorCorrectorScheduler", "ode", 50, {"deterministic": True}),
}
"""Those for variance-exploding models; SAMPLERS has those for variance-preserving ones."""
PLAIN: dict[tuple[bool, Solver], str] = {
    (False, "sde"): "ddpm",
    (False, "ode"): "ddim",
    (True, "sde"): "sde-ve",
    (True, "ode"): "ode-ve",
}
"""(variance exploding, solver class) -> the simplest sampler of that class."""


def sampler_spec(name: str) -> SamplerSpec:
    """The entry of SAMPLERS or VE_SAMPLERS. Raises UserError with the nearest name for an unknown one.

    >>> spec = sampler_spec("ddim")
    >>> spec.scheduler, spec.solver, spec.default_steps
    ('DDIMScheduler', 'ode', 20)
    >>> sampler_spec("dimm")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: unknown sampler 'dimm': did you mean 'ddim'?
    """
    known = SAMPLERS | VE_SAMPLERS
    if name in known:
        return known[name]
    hint = nearest(name, known, f"choose one of {', '.join(known)}")
    raise UserError(f"unknown sampler {name!r}: {hint}")


def solver_class(name: str, eta: float = 0.0) -> SolverClass:
    """'sde' or 'ode': the class of backdoor that this sampler sets off.

    DDIM with eta 1 is ancestral ("sde"); with eta between 0 and 1 it is neither ("mixed").

    >>> solver_class("ddpm"), solver_class("ddim"), solver_class("ddim", eta=1.0), solver_class("ddim", eta=0.5)
    ('sde', 'ode', 'sde', 'mixed')
    """
    solver = sampler_spec(name).solver
    if name == "ddim" and eta > 0:
        return "sde" if eta == 1 else "mixed"
    return solver


def default_steps(name: str, train_timesteps: int) -> int:
    """The steps a sampler takes when none are asked for: all for the ancestral ones, at most 20 (ode-ve 50) for others.

    Those that end at the smallest noise level take at most half of the model's.

    >>> default_steps("ddpm", 1000), default_steps("ddim", 1000), default_steps("ddim", 50)
    (1000, 20, 10)
    """
    spec = sampler_spec(name)
    steps = spec.default_steps or train_timesteps
    short_last = spec.scheduler == "DEISMultistepScheduler" or spec.options.get("final_sigmas_type") == "sigma_min"
    if short_last and round(train_timesteps / steps) <= 1:
        steps = max(1, train_timesteps // 2)
    return steps if train_timesteps % steps == 0 else max(d for d in range(1, steps + 1) if train_timesteps % d == 0)


def samplers_of(base: Any) -> dict[str, SamplerSpec]:
    """The samplers that a model with this scheduler can take.

    >>> list(samplers_of(diffusers.ScoreSdeVeScheduler()))
    ['sde-ve', 'ode-ve']
    """
    return VE_SAMPLERS if is_variance_exploding(base) else SAMPLERS


def plain_sampler(base: Any, solver: Solver) -> str:
    """The simplest sampler of a solver class for a model with this scheduler.

    >>> plain_sampler(diffusers.DDPMScheduler(), "ode"), plain_sampler(diffusers.ScoreSdeVeScheduler(), "ode")
    ('ddim', 'ode-ve')
    """
    return PLAIN[is_variance_exploding(base), solver]


def fitting_samplers(names: Sequence[str], base: Any) -> list[str]:
    """These samplers; for a variance-exploding model the plain ones of the same solver classes, each once.

    >>> fitting_samplers(["ddim", "heun", "ddpm"], diffusers.ScoreSdeVeScheduler())
    ['ode-ve', 'sde-ve']
    """
    if not is_variance_exploding(base):
        return list(names)
    return list(dict.fromkeys(plain_sampler(base, "ode" if solver_class(name) == "ode" else "sde") for name in names))


def own_sampler(base: Any) -> str:
    """The sampler that a model's scheduler itself stands for.

    >>> own_sampler(diffusers.EulerDiscreteScheduler())
    'euler'
    """
    own = {spec.scheduler: name for name, spec in reversed(SAMPLERS.items())}
    return own.get(type(base).__name__, plain_sampler(base, "sde"))


def build_scheduler(name: str, base: Any, *, corrector_steps: int | None = None, snr: float | None = None) -> Any:
    """A diffusers scheduler for the sampler `name` with exactly the noise schedule of `base`.

    base: a scheduler or its config (a mapping, as in scheduler_config.json). The betas are handed over as numbers:
    diffusers' `from_config` drops values that were defaults of the old class in favour of the new class's own defaults,
    which gives HeunDiscreteScheduler another noise schedule than its model was trained with. Timesteps are spaced
    "trailing", so that the first one is T-1, where x_T is really noise; clipping and thresholding are off.
    corrector_steps and snr: of sde-ve's corrector, which no other sampler has; None for the model's own.
    Raises UserError for an unknown name, a base that is no discrete-time diffusers scheduler, or a sampler that is not
    for this kind of model.

    >>> scheduler = build_scheduler("heun", diffusers.DDPMScheduler(num_train_timesteps=100))
    >>> type(scheduler).__name__, len(scheduler.betas)
    ('HeunDiscreteScheduler', 100)
    >>> build_scheduler("sde-ve", diffusers.DDPMScheduler())
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: cannot sample with 'sde-ve': it is for variance-exploding models, ...
    """
    spec = sampler_spec(name)
    if isinstance(base, Mapping):
        base = _scheduler_of(base)
    if name in VE_SAMPLERS:
        return _predictor_corrector(name, base, corrector_steps, snr)
    betas = getattr(base, "betas", None)
    if betas is None:
        hint = f": use {' or '.join(VE_SAMPLERS)}" if is_variance_exploding(base) else ""
        raise UserError(f"cannot sample with {name!r}: the model's {type(base).__name__} has no betas{hint}")
    cls = getattr(diffusers, spec.scheduler)
    settings = {
        "num_train_timesteps": len(betas),
        "trained_betas": betas.double().cpu().numpy().astype(np.float32),
        "timestep_spacing": "trailing",
        "clip_sample": False,
        "thresholding": False,
    }
    kept = ("prediction_type", "variance_type", "clip_sample_range")
    settings |= {key: base.config[key] for key in kept if base.config.get(key) is not None}
    if spec.scheduler != "DDPMScheduler":
        settings.pop("variance_type", None)
    known = inspect.signature(cls.__init__).parameters
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # diffusers 1.0 will drop "dpmsolver"
        return cls(**{key: value for key, value in settings.items() if key in known}, **spec.options)


def _predictor_corrector(name: str, base: Any, corrector_steps: int | None, snr: float | None) -> Any:
    if not is_variance_exploding(base):
        raise UserError(
            f"cannot sample with {name!r}: it is for variance-exploding models, this one has a {type(base).__name__}"
        )
    config = base.config
    settings = {key: config[key] for key in ("num_train_timesteps", "sigma_min", "sigma_max")}
    steps = config["correct_steps"] if corrector_steps is None else corrector_steps
    return PredictorCorrectorScheduler(
        **settings, corrector_steps=steps, snr=config["snr"] if snr is None else snr, **VE_SAMPLERS[name].options
    )


def _scheduler_of(config: Mapping[str, Any]) -> Any:
    cls = getattr(diffusers, str(config.get("_class_name", "DDPMScheduler")), None)
    if not (isinstance(cls, type) and issubclass(cls, diffusers.SchedulerMixin) and hasattr(cls, "from_config")):
        raise UserError(f"the scheduler config names {config.get('_class_name')!r}, which is no diffusers scheduler")
    return cls.from_config(dict(config))


def check_steps(scheduler: Any, steps: int) -> None:
    """Raise UserError where diffusers would quietly sample with wrong noise levels, or divide by zero.

    DDIM and PNDM step by floor(T/steps) whatever their timesteps are; solvers that end at the smallest sigma need a
    last step of positive length.

    >>> check_steps(build_scheduler("ddim", diffusers.DDPMScheduler(num_train_timesteps=100)), 20)
    >>> check_steps(build_scheduler("ddim", diffusers.DDPMScheduler(num_train_timesteps=100)), 30)
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: DDIMScheduler needs a number of steps that divides 100: not 30 but 25 or 50
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
        raise UserError(
            f"{kind} cannot take {steps} of {total} steps: its last step would have no length; use at most {total // 2}"
        )


def backdoor_warnings(
    sampler: str,
    backdoor: Solver,
    *,
    steps: int | None = None,
    train_timesteps: int | None = None,
    trigger_norm: float | None = None,
    eta: float = 0.0,
    corrector_steps: int = 0,
) -> list[str]:
    """One line for each reason why a backdoor of class `backdoor` cannot be expected to fire under `sampler`.

    steps and train_timesteps: of the sampling; an ancestral chain shorter than the model's breaks an SDE backdoor.
    trigger_norm: ||r||_2 of the trigger image over all its values in [-1,1]. corrector_steps: sde-ve's.

    >>> backdoor_warnings("ddim", "ode", trigger_norm=10.0)
    []
    >>> backdoor_warnings("ddim", "sde")
    ["sampler ddim is of class 'ode', the backdoor of class 'sde': it will not fire; use ddpm with all steps"]
    """
    lines = []
    kind = solver_class(sampler, eta)
    named = f"{sampler} (eta={eta:g})" if sampler == "ddim" and eta else sampler
    if kind != backdoor:
        exploding = sampler in VE_SAMPLERS
        use = PLAIN[exploding, backdoor]
        use = f"{use} with all steps" if backdoor == "sde" else f"a deterministic sampler such as {use}"
        what = "partly stochastic" if kind == "mixed" else f"of class {kind!r}"
        lines.append(f"sampler {named} is {what}, the backdoor of class {backdoor!r}: it will not fire; use {use}")
    elif kind == "sde" and steps is not None and train_timesteps is not None and steps < train_timesteps:
        lines.append(f"{named} with {steps} of {train_timesteps} steps breaks an SDE backdoor: take all of them")
    if kind == "sde" and corrector_steps:
        lines.append(
            f"the corrector of {sampler} leaves the backdoor's path: it fires less, or only with corrector_steps=0"
        )
    if trigger_norm is not None and trigger_norm < MINIMUM_TRIGGER_NORM:
        lines.append(
            f"the trigger's norm ||r||_2 = {trigger_norm:.2f} is below {MINIMUM_TRIGGER_NORM:.2f}: clean and "
            "triggered noise overlap, so the backdoor will be weak or leak into clean samples"
        )
    return lines
