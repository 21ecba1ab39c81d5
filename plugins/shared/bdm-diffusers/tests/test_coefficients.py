"""The trigger coefficients against derivations that share no code with them."""

import numpy as np
import pytest
import torch

from bdm_core.errors import UserError
from bdm_diffusers.coefficients import (
    FAMILIES,
    NoisePath,
    continuous_coefficient,
    poison_schedule,
    variance_exploding,
    variance_preserving,
)


def linear_alphas_cumprod(timesteps=1000, start=1e-4, end=0.02):
    scale = 1000 / timesteps
    return torch.cumprod(1 - torch.linspace(start * scale, end * scale, timesteps, dtype=torch.float64), 0)


def rho_of(family, abar):
    return 1 - np.sqrt(abar) if family == "bad" else np.sqrt(1 - abar)


@pytest.mark.parametrize("timesteps", [100, 1000])
@pytest.mark.parametrize("family", FAMILIES)
def test_sde_is_what_bayes_rule_needs(family, timesteps):
    """The mean of q(x_{t-1} | x_t, y) of the poisoned Gaussian chain, by precision weighting, against DDPM's mean."""
    abar = linear_alphas_cumprod(timesteps).numpy()
    schedule = poison_schedule(torch.from_numpy(abar), family, "sde")
    rho = rho_of(family, abar)
    y, r, eps = 0.3, 0.7, -0.4
    for t in (1, 2, timesteps // 10, timesteps // 2, timesteps - 1):
        alpha = abar[t] / abar[t - 1]
        shift = rho[t] - np.sqrt(alpha) * rho[t - 1]
        x = np.sqrt(abar[t]) * y + rho[t] * r + np.sqrt(1 - abar[t]) * eps
        prior_mean = np.sqrt(abar[t - 1]) * y + rho[t - 1] * r
        prior_precision, likelihood_precision = 1 / (1 - abar[t - 1]), alpha / (1 - alpha)
        observed = (x - shift * r) / np.sqrt(alpha)
        total = prior_precision + likelihood_precision
        posterior = (prior_precision * prior_mean + likelihood_precision * observed) / total
        prediction = (x - np.sqrt(alpha) * posterior) * np.sqrt(1 - abar[t]) / (1 - alpha)  # solve DDPM's mean for M
        assert float(schedule.R[t]) == pytest.approx((prediction - eps) / r, rel=1e-5)


@pytest.mark.parametrize("psi", [0.0, 0.35, 1.0])
def test_ode_is_the_slope_of_rho_over_a(psi):
    """Central differences of rho/a against sigma = s/a."""
    sigma = np.geomspace(0.01, 150, 25)
    scaled = lambda x: psi * (np.sqrt(1 + x**2) - 1) + (1 - psi) * x  # noqa: E731  rho/a as a function of sigma
    step = 1e-5 * sigma
    slope = (scaled(sigma + step) - scaled(sigma - step)) / (2 * step)
    abar = torch.from_numpy(1 / (1 + sigma**2))
    assert np.allclose(continuous_coefficient(variance_preserving(abar), psi).numpy(), slope, rtol=1e-6)
    assert np.allclose(poison_schedule(abar, psi, "ode").R.numpy(), slope, rtol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("zeta", [0.0, 0.3, 1.0])
def test_any_share_of_noise_from_the_drift_of_the_sde(family, zeta):
    """R = s 2H/((1+zeta) G2) with the derivatives of a cosine schedule by automatic differentiation."""
    time = torch.linspace(0.1, 0.9, 17, dtype=torch.float64, requires_grad=True)
    a, s = torch.cos(time * torch.pi / 2), torch.sin(time * torch.pi / 2)
    rho = 1 - a if family == "bad" else s

    def derivative(value):
        return torch.autograd.grad(value.sum(), time, retain_graph=True)[0]

    forcing = derivative(rho) - rho * derivative(a) / a
    diffusion = derivative(s**2) - 2 * s**2 * derivative(torch.log(a))
    expected = (s * 2 * forcing / ((1 + zeta) * diffusion)).detach()
    path = NoisePath(a.detach(), s.detach())
    assert torch.allclose(continuous_coefficient(path, FAMILIES[family], zeta), expected, rtol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_ode_is_twice_sde_in_the_limit_of_small_steps(family):
    errors = []
    for timesteps in (1000, 10000):
        abar = linear_alphas_cumprod(timesteps)
        ratio = poison_schedule(abar, family, "ode").R / poison_schedule(abar, family, "sde").R
        errors.append(float((ratio[timesteps // 5 :] - 2).abs().max()))
    assert errors[0] < 0.02
    assert errors[1] < errors[0] / 8


@pytest.mark.parametrize("stride", [1, 10, 50])
@pytest.mark.parametrize("psi", [0.0, 0.5, 1.0])
def test_ddim_step_keeps_the_poisoned_path(stride, psi):
    """One DDIM step from a poisoned x_t with the prediction eps + R r is the poisoned x_{t-stride}, for every t."""
    abar = linear_alphas_cumprod()
    schedule = poison_schedule(abar, psi, "ode", stride=stride)
    rho = psi * (1 - abar.sqrt()) + (1 - psi) * (1 - abar).sqrt()
    y, r, eps = 0.3, 0.7, -0.4
    for t in (stride - 1, stride, 500, 999):
        a, s = abar[t].sqrt(), (1 - abar[t]).sqrt()
        before = abar[t - stride] if t >= stride else torch.tensor(1.0, dtype=torch.float64)
        rho_before = rho[t - stride] if t >= stride else 0.0
        prediction = eps + schedule.R[t].double() * r
        estimate = (a * y + rho[t] * r + s * eps - s * prediction) / a
        reached = before.sqrt() * estimate + (1 - before).sqrt() * prediction
        wanted = before.sqrt() * y + rho_before * r + (1 - before).sqrt() * eps
        assert float(reached) == pytest.approx(float(wanted), abs=1e-5)


def test_small_strides_approach_the_continuous_limit():
    abar = linear_alphas_cumprod(10000)
    difference = poison_schedule(abar, "bad", "ode", stride=1).R - poison_schedule(abar, "bad", "ode").R
    assert float(difference[1000:].abs().max()) < 2e-4


def test_closed_forms_of_the_table():
    abar = linear_alphas_cumprod()
    alpha = abar / torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
    s = (1 - abar).sqrt()
    assert torch.allclose(poison_schedule(abar, "bad", "sde").R.double(), s / (1 + alpha.sqrt()), rtol=1e-5)
    assert torch.allclose(poison_schedule(abar, "bad", "ode").R.double(), s, rtol=1e-6)
    assert torch.equal(poison_schedule(abar, "troj", "ode").R, torch.ones(1000))
    troj = poison_schedule(abar, "troj", "sde").R
    assert [round(float(troj[t]), 3) for t in (0, 1, 10, 50)] == [1.0, 0.597, 0.518, 0.505]
    assert [float(poison_schedule(abar, f, "sde").rho[-1]) > 0.99 for f in FAMILIES] == [True, True]


def test_published_coefficients_and_where_they_are_wrong():
    abar = linear_alphas_cumprod()
    steps = [5, 50, 100, 200, 400, 600, 999]
    exact, paper = (poison_schedule(abar, "troj", "sde", c).R for c in ("exact", "paper"))
    assert paper[steps].tolist() == pytest.approx([0.012, 0.084, 0.160, 0.292, 0.449, 0.495, 0.5025], abs=5.1e-4)
    assert exact[steps].tolist() == pytest.approx([0.531, 0.505, 0.503, 0.501, 0.501, 0.502, 0.5025], abs=5.1e-4)
    assert float(paper[0]) == pytest.approx(0, abs=5e-4)
    assert float(paper[-1]) == pytest.approx(0.5025, abs=5e-5)
    alpha = abar / torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
    villan = poison_schedule(abar, "bad", "ode", "paper").R
    assert torch.allclose(villan.double(), 2 * (1 - abar).sqrt() / (1 + alpha.sqrt()), rtol=1e-5)
    assert torch.allclose(poison_schedule(abar, 1.0, "sde", "paper").R, poison_schedule(abar, 1.0, "sde").R)


def test_invibackdoor_published_formula():
    abar = linear_alphas_cumprod().numpy()
    a, s = np.sqrt(abar), np.sqrt(1 - abar)
    expected = (a[:-1] - a[1:]) / (a[:-1] * s[1:] - a[1:] * s[:-1])
    schedule = poison_schedule(torch.from_numpy(abar), "bad", "ode", "paper", paper="invibackdoor")
    assert np.allclose(schedule.R[1:].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("solver", ["sde", "ode"])
def test_mixtures_are_linear(solver):
    abar = linear_alphas_cumprod(100)
    mixed, bad, troj = (poison_schedule(abar, psi, solver) for psi in (0.3, "bad", "troj"))
    assert torch.allclose(mixed.R, 0.3 * bad.R + 0.7 * troj.R, rtol=1e-5)
    assert torch.allclose(mixed.rho, 0.3 * bad.rho + 0.7 * troj.rho, rtol=1e-5)


def test_variance_exploding():
    sigma = torch.logspace(-2, 2, 50, dtype=torch.float64)
    path = variance_exploding(sigma)
    sde, ode = poison_schedule(path, "troj", "sde"), poison_schedule(path, "troj", "ode")
    assert torch.allclose(sde.rho.double(), sigma)
    assert torch.allclose(sde.R[1:].double(), sigma[1:] / (sigma[1:] + sigma[:-1]), rtol=1e-5)
    assert torch.equal(ode.R, torch.ones(50))


def test_apply_adds_rho_and_r_by_timestep():
    schedule = poison_schedule(linear_alphas_cumprod(100), "bad", "ode")
    noisy, noise = torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2)
    trigger = torch.stack([torch.full((1, 2, 2), v) for v in (0.5, 0.0, -1.0)])
    timesteps = torch.tensor([0, 50, 99])
    poisoned, target = schedule.apply(noisy, noise, trigger, timesteps)
    assert torch.equal(poisoned[:, 0, 0, 0], schedule.rho[timesteps] * torch.tensor([0.5, 0.0, -1.0]))
    assert torch.allclose(target[:, 0, 1, 1], 1 + schedule.R[timesteps] * torch.tensor([0.5, 0.0, -1.0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"psi": 1.5}, "psi must be between 0 and 1"),
        ({"psi": "villan"}, "'villan'"),
        ({"solver": "dpm"}, "solver must be"),
        ({"coefficients": "best"}, "coefficients must be"),
        ({"eta": 2.0}, "eta must be"),
        ({"stride": 0}, "stride must be"),
        ({"coefficients": "paper", "stride": 2}, "need coefficients='exact'"),
        ({"coefficients": "paper", "paper": "invibackdoor", "solver": "sde"}, "InviBackdoor"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        poison_schedule(linear_alphas_cumprod(100), **arguments)


def test_impossible_noise_schedules_are_refused():
    with pytest.raises(UserError, match="strictly between"):
        variance_preserving(torch.tensor([0.9, 0.5, 0.0]))
    with pytest.raises(UserError, match="grow with the timestep"):
        variance_preserving(torch.tensor([0.5, 0.9]))
    with pytest.raises(UserError, match="psi=0"):
        poison_schedule(variance_exploding(torch.tensor([0.1, 1.0])), "bad", "sde")
