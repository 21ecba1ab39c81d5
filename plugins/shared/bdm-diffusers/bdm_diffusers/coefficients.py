"""Trigger coefficients: how much of the trigger goes into the noisy image and into the training target.

Every noise-space backdoor on a diffusion model is one formula. With y the target image, r the trigger, eps ~ N(0, I)
and a clean path x_t = a_t x_0 + s_t eps,

    x_t    = a_t y + rho_t r + s_t eps          (poisoned noisy image)
    target = eps + R_t r                        (what the network learns to predict there)

rho_t runs from 0 (data) to about 1 (pure noise), so that sampling may start from x_T = eps + r. R_t is then no longer
free: it is fixed by the reverse process that will be used. A reverse step t -> u that estimates
x_0^ = (x_t - s_t M)/a_t and sets x_u = a_u x_0^ + sqrt(s_u^2 - v^2) M + v z keeps the poisoned path exactly when

    R_t = [a_u rho_t / a_t - rho_u] / [a_u s_t / a_t - sqrt(s_u^2 - v^2)],
    v^2 = eta^2 (s_u^2 / s_t^2) (s_t^2 - (a_t / a_u)^2 s_u^2).                                        (1)

eta = 0 is DDIM at any stride (Song et al., 2010.02502, eq. 12); eta = 1, u = t - 1 is ancestral DDPM (Ho et al.,
2006.11239, eq. 7), where (1) becomes R_t = h_t s_t / beta_t with h_t = rho_t - sqrt(alpha_t) rho_{t-1}. The limit
u -> t gives

    R_t = 1/(1 + zeta) * d(rho/a) / d(s/a),                                                           (2)

zeta = 0 for the probability-flow ODE, zeta = 1 for the reverse SDE: an ODE backdoor needs twice the SDE one, and a
model is backdoored for exactly one of the two classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bdm_core.errors import UserError

Solver = Literal["sde", "ode"]
Coefficients = Literal["exact", "paper"]
Paper = Literal["villan", "invibackdoor"]
Family = Literal["bad", "troj"]

FAMILIES: dict[Family, float] = {"bad": 1.0, "troj": 0.0}
"""Family -> psi. "bad": rho = 1 - a (BadDiffusion, 2212.05400). "troj": rho = s (TrojDiff's shift, 2303.05762)."""


@dataclass(frozen=True, eq=False)
class NoisePath:
    """The clean marginals x_t = a_t x_0 + s_t eps for t = 0..T-1, as float64 tensors of shape (T,).

    a is 1 and s is the noise level sigma for variance-exploding models; a^2 + s^2 = 1 for variance-preserving ones.

    >>> path = variance_preserving(torch.tensor([0.99, 0.5, 0.01]))
    >>> len(path), path.variance_exploding, path.previous()[0].tolist()[0]
    (3, False, 1.0)
    """

    a: Tensor
    s: Tensor

    def __post_init__(self) -> None:
        if self.a.ndim != 1 or self.a.shape != self.s.shape or self.a.numel() < 1:
            raise UserError(f"a noise path needs two equally long vectors: {(*self.a.shape,)}, {(*self.s.shape,)}")
        sigma = self.s / self.a
        if not (bool((self.a > 0).all()) and bool((sigma > 0).all()) and bool((sigma.diff() > 0).all())):
            raise UserError("the noise level s/a must be positive, finite and grow with the timestep")

    def __len__(self) -> int:
        return int(self.a.numel())

    @property
    def variance_exploding(self) -> bool:
        return bool((self.a == 1).all())

    def previous(self, stride: int = 1) -> tuple[Tensor, Tensor]:
        """a and s at t - stride; before t = 0 lies the clean image (a = 1, s = 0)."""
        if stride < 1:
            raise UserError(f"stride must be at least 1, not {stride}")
        n = min(stride, len(self))
        return (
            torch.cat([self.a.new_ones(n), self.a[: len(self) - n]]),
            torch.cat([self.s.new_zeros(n), self.s[: len(self) - n]]),
        )


def variance_preserving(alphas_cumprod: Tensor) -> NoisePath:
    """The path of a DDPM-type scheduler: a = sqrt(abar), s = sqrt(1 - abar). Any length, any beta schedule.

    Raises UserError unless abar falls strictly inside (0, 1) (a zero-terminal-SNR schedule has no eps-prediction at T).

    >>> path = variance_preserving(torch.tensor([0.75, 0.36]))
    >>> round(path.a[1].item(), 6), round(path.s[1].item(), 6)
    (0.6, 0.8)
    """
    abar = torch.as_tensor(alphas_cumprod).detach().to("cpu", torch.float64)
    if abar.ndim != 1 or not (bool((abar > 0).all()) and bool((abar < 1).all())):
        raise UserError("alphas_cumprod must be a vector of values strictly between 0 and 1")
    return NoisePath(abar.sqrt(), (1 - abar).sqrt())


def variance_exploding(sigmas: Tensor) -> NoisePath:
    """The path of an NCSN-type scheduler, x = x_0 + sigma eps; sigmas ascending, shape (T,).

    >>> variance_exploding(torch.tensor([0.01, 50.0])).a.tolist()
    [1.0, 1.0]
    """
    sigma = torch.as_tensor(sigmas).detach().to("cpu", torch.float64)
    return NoisePath(torch.ones_like(sigma), sigma)


@dataclass(frozen=True, eq=False)
class PoisonSchedule:
    """rho_t and R_t for t = 0..T-1: float32 tensors of shape (T,), on the CPU unless moved.

    x_t = a_t y + rho_t r + s_t eps is trained towards eps + R_t r. `solver` is the reverse process R belongs to.
    """

    rho: Tensor
    R: Tensor
    solver: Solver

    def __len__(self) -> int:
        return int(self.rho.numel())

    def to(self, device: torch.device | str) -> PoisonSchedule:
        return PoisonSchedule(self.rho.to(device), self.R.to(device), self.solver)

    def apply(self, noisy: Tensor, noise: Tensor, trigger: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """(x_t, eps) of clean pairs -> (x_t + rho_t r, eps + R_t r).

        noisy, noise: (N,C,H,W); trigger: broadcastable to it, all zero for the clean images of a mixed batch;
        timesteps: (N,) integers in [0, T).
        """
        shape = (-1,) + (1,) * (noisy.ndim - 1)
        rho = self.rho.to(noisy.device)[timesteps].reshape(shape).to(noisy.dtype)
        shift = self.R.to(noisy.device)[timesteps].reshape(shape).to(noisy.dtype)
        return noisy + rho * trigger, noise + shift * trigger


def trigger_share(a: Tensor, s: Tensor, psi: float) -> Tensor:
    """rho = psi (1 - a) + (1 - psi) s (VillanDiffusion, 2306.06874). With a = 1 (VE) and psi = 0 it is rho = sigma.

    >>> a, s = torch.tensor([0.8]), torch.tensor([0.6])
    >>> trigger_share(a, s, 1.0).item() == 1 - a.item(), trigger_share(a, s, 0.0).item() == s.item()
    (True, True)
    """
    return psi * (1 - a) + (1 - psi) * s


def step_coefficient(a: Tensor, s: Tensor, a_next: Tensor, s_next: Tensor, psi: float, eta: float = 0.0) -> Tensor:
    """R of equation (1) for single reverse steps from (a, s) to the less noisy (a_next, s_next); elementwise.

    eta = 0: DDIM; eta = 1: the ancestral (DDPM, Euler-ancestral) step; between: DDIM's stochastic steps.

    >>> path = variance_preserving(torch.linspace(0.99, 0.01, 50))
    >>> a, s = path.previous()
    >>> step_coefficient(path.a, path.s, a, s, psi=1.0, eta=1.0).shape
    torch.Size([50])
    """
    ratio = a_next / a
    rho, rho_next = trigger_share(a, s, psi), trigger_share(a_next, s_next, psi)
    variance = eta**2 * (s_next / s) ** 2 * (s**2 - (s_next / ratio) ** 2)
    return (ratio * rho - rho_next) / (ratio * s - (s_next**2 - variance).clamp(min=0).sqrt())


def continuous_coefficient(path: NoisePath, psi: float, zeta: float = 0.0) -> Tensor:
    """R of equation (2) in closed form; zeta = 0: ODE, 1: SDE, between: that share of the SDE's noise.

    For rho = s, rho/a is sigma itself, so the derivative is 1. For rho = 1 - a on a VP path, rho/a is
    sqrt(1 + sigma^2) - 1, so the derivative is sigma/sqrt(1 + sigma^2) = s. VE paths take psi = 0 only.

    >>> path = variance_preserving(torch.tensor([0.9, 0.36]))
    >>> continuous_coefficient(path, psi=0.0).tolist()
    [1.0, 1.0]
    >>> [round(value, 6) for value in continuous_coefficient(path, psi=1.0, zeta=1.0).tolist()]
    [0.158114, 0.4]
    """
    return (psi * path.s + (1 - psi)) / (1 + zeta)


def published_coefficient(path: NoisePath, psi: float, solver: Solver, paper: Paper) -> Tensor:
    """R as the papers' code has it, where it is not what the reverse process needs; for reproduction.

    "villan" (2306.06874): psi (1-sqrt(alpha)) s/beta + (1-psi) [h (alpha-abar)/beta + (1-sqrt(alpha)) s] with
        h = s_t - sqrt(alpha_t) s_{t-1}, and twice that for "ode". At psi = 1, "sde" it is exact and BadDiffusion's own.
    "invibackdoor" (2406.00816): the stride-1 DDIM coefficient of rho = 1 - a, whichever sampler follows.

    >>> path = variance_preserving(torch.linspace(0.99, 0.01, 50))
    >>> a, s = path.previous()
    >>> exact = step_coefficient(path.a, path.s, a, s, psi=1.0, eta=1.0)
    >>> torch.allclose(published_coefficient(path, 1.0, "sde", "villan"), exact)
    True
    """
    if path.variance_exploding:
        raise UserError("published coefficients exist for variance-preserving models only; use coefficients='exact'")
    a_next, s_next = path.previous()
    if paper == "invibackdoor":
        if psi != 1.0 or solver != "ode":
            raise UserError("InviBackdoor's coefficient is defined for family 'bad' (psi=1) and solver 'ode' only")
        return step_coefficient(path.a, path.s, a_next, s_next, psi=1.0)
    root_alpha = path.a / a_next
    alpha, beta = root_alpha**2, path.s**2 - (root_alpha * s_next) ** 2
    shift = path.s - root_alpha * s_next
    bad = (1 - root_alpha) * path.s / beta
    troj = shift * (alpha - path.a**2) / beta + (1 - root_alpha) * path.s
    return (psi * bad + (1 - psi) * troj) * (2.0 if solver == "ode" else 1.0)


def poison_schedule(
    path: NoisePath | Tensor,
    psi: float | Family = "bad",
    solver: Solver = "sde",
    coefficients: Coefficients = "exact",
    *,
    paper: Paper = "villan",
    stride: int | None = None,
    eta: float | None = None,
) -> PoisonSchedule:
    """rho and R of one backdoor, for every timestep of a scheduler.

    path: a scheduler's alphas_cumprod, shape (T,), or a NoisePath. psi: 1 or "bad", 0 or "troj", or a mixture between.
    solver: "sde" for the ancestral full-length chain, "ode" for every deterministic sampler. coefficients: "exact", or
    "paper" for the values that `paper` published. stride and eta (exact only) replace the default reverse step by
    t -> t - stride with DDIM's eta: DDIM with 20 of 1000 steps is solver="ode", stride=50; a 100-step ancestral chain
    of a 1000-step model is solver="sde", stride=10. The defaults: "sde" stride 1, eta 1; "ode" the continuous limit.
    Raises UserError for values outside these.

    >>> alphas_cumprod = torch.linspace(0.99, 0.01, 50)
    >>> schedule = poison_schedule(alphas_cumprod, "bad", "ode")
    >>> len(schedule), schedule.solver, torch.allclose(schedule.rho, 1 - alphas_cumprod.sqrt())
    (50, 'ode', True)
    >>> poison_schedule(alphas_cumprod, 2.0)
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: psi must be between 0 and 1, or one of bad, troj; not 2.0
    """
    if not isinstance(path, NoisePath):
        path = variance_preserving(path)
    weight = FAMILIES.get(psi) if isinstance(psi, str) else float(psi)
    if weight is None or not 0 <= weight <= 1:
        raise UserError(f"psi must be between 0 and 1, or one of {', '.join(FAMILIES)}; not {psi!r}")
    if solver not in ("sde", "ode"):
        raise UserError(f"solver must be 'sde' or 'ode', not {solver!r}")
    if path.variance_exploding and weight != 0:
        raise UserError(f"a variance-exploding model needs psi=0 (rho = sigma), not {psi!r}")
    if eta is not None and not 0 <= eta <= 1:
        raise UserError(f"eta must be between 0 and 1, not {eta}")
    if coefficients == "paper":
        if stride is not None or eta is not None:
            raise UserError("stride and eta need coefficients='exact'")
        shift = published_coefficient(path, weight, solver, paper)
    elif coefficients != "exact":
        raise UserError(f"coefficients must be 'exact' or 'paper', not {coefficients!r}")
    elif solver == "ode" and stride is None and not eta:
        shift = continuous_coefficient(path, weight)
    else:
        default_eta = 1.0 if solver == "sde" else 0.0
        a_next, s_next = path.previous(1 if stride is None else stride)
        shift = step_coefficient(path.a, path.s, a_next, s_next, weight, default_eta if eta is None else eta)
    return PoisonSchedule(trigger_share(path.a, path.s, weight).float(), shift.float(), solver)
