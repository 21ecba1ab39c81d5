"""The released trigger inversions, stated again from the papers and from what the authors' code does at each step.

One start, the published batches and rates; gradients of the network's weights are computed along, because nothing
switches them off; one network call for each of TERD's two noises. Three things are not as released, for a fair
comparison with the plugins, see their READMEs: Diff-Cleanse's pattern is the one that is optimised, its loss and its
rule of similarity are the plugin's, and its sampler is DDIM with 20 network calls. TERD's timesteps are the plugin's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bdm_defense_diff_cleanse.inversion import range_penalty, shift_of, similarity_loss
from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_defense_diff_cleanse.similarity import mscr

ELIJAH_BATCH, TERD_PAIRS, SAMPLES, STEPS = 100, 16, 16, 20
"""Published: noise images, pairs of noise, images of a pattern, sampling steps."""


def released_elijah(network: Any, start: Tensor, scale: float, timestep: int, iterations: int) -> Tensor:
    """Adam on the L1 norm of mean_b M(eps_b + tau, T-1) - lambda tau, one fixed batch of independent noise."""
    noise = torch.randn(ELIJAH_BATCH, *start.shape, generator=torch.Generator().manual_seed(0))
    tau = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([tau], lr=0.1)
    for _ in range(iterations):
        optimizer.zero_grad()
        shift = network(noise + tau, torch.full((ELIJAH_BATCH,), timestep)).sample.mean(0)
        (shift - scale * tau).abs().mean().backward()
        optimizer.step()
    return tau.detach()


def released_terd(
    network: Any, levels: tuple[Tensor, Tensor], window: int, start: Tensor, iterations: int, weight: float
) -> Tensor:
    """SGD with a cosine schedule on 1/2 ||(e_1 - M(x_1)) - (e_2 - M(x_2))||^2 - weight ||r||_1, gamma = 1."""
    a, s = levels
    r = start.clone().requires_grad_(True)
    optimizer = torch.optim.SGD([r], lr=0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    generator = torch.Generator().manual_seed(0)
    for _ in range(iterations):
        optimizer.zero_grad()
        clean, first, second = (torch.randn(TERD_PAIRS, *start.shape, generator=generator) for _ in range(3))
        times = len(a) - 1 - torch.randint(window, (TERD_PAIRS,), generator=generator)
        low, high = a[times].view(-1, 1, 1, 1), s[times].view(-1, 1, 1, 1)
        one = first - network(low * clean + high * first + r, times).sample
        other = second - network(low * clean + high * second + r, times).sample
        ((one - other).square().flatten(1).sum(1).mean() / 2 - weight * r.abs().sum()).backward()
        optimizer.step()
        schedule.step()
    return r.detach()


def released_refinement(
    network: Any, scheduler: Any, levels: tuple[Tensor, Tensor], windows: tuple[int, int], r: Tensor
) -> Tensor:
    """One iteration of TERD's stage 2: a DDIM chain with gradients, then pairs at the last and the first timesteps."""
    (a, s), (window, chain) = levels, windows
    r = r.clone().requires_grad_(True)
    scheduler.set_timesteps(chain)
    x = torch.randn(TERD_PAIRS, *r.shape) + r
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t).sample, t, x).prev_sample
    loss = torch.zeros(())
    for shift, times in ((r, len(a) - 1 - torch.randint(window, (16,))), (0 * r, torch.randint(window, (16,)))):
        low, high = a[times].view(-1, 1, 1, 1), s[times].view(-1, 1, 1, 1)
        noises = [torch.randn_like(x) for _ in range(2)]
        one, other = (e - network(low * x + high * e + shift, times).sample for e in noises)
        loss = loss + (one - other).square().flatten(1).sum(1).mean() / 4
    loss.backward()
    assert r.grad is not None
    return r.grad


def released_diff_cleanse(
    network: Any, scheduler: Any, start: Tensor, noise: Tensor, params: DiffCleanseParams, epochs: int
) -> Tensor:
    """Adam on the pattern by the images' gradient; stops when all images are alike."""
    pattern = ((start / params.reach + 1) / 2).clamp(0, 1).requires_grad_(True)
    optimizer = torch.optim.Adam([pattern], lr=0.1)
    for epoch in range(epochs + 1):
        scheduler.set_timesteps(STEPS)
        with torch.no_grad():
            x = noise + shift_of(pattern, params.reach)
            for t in scheduler.timesteps:
                x = scheduler.step(network(x, t).sample, t, x).prev_sample
        images = x.requires_grad_(True)
        if epoch == epochs or mscr(x.detach(), params.similarity) == 1:
            break
        (gradient,) = torch.autograd.grad(similarity_loss(images, params), [images])
        optimizer.zero_grad()
        range_penalty(pattern, params.range_margin).backward()
        assert pattern.grad is not None
        pattern.grad += params.gradient_scale * 2 * params.reach * gradient.mean(0)
        optimizer.step()
        with torch.no_grad():
            pattern.clamp_(0, 1)
    return shift_of(pattern, params.reach).detach()
