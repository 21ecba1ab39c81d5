"""Defenses of classifiers as released, stated again from the papers and from what published code does at each step.

Batches are slices of tensors that lie in memory, so that no loader slows these loops down; the published ones read rows
through one. Gradients of weights are computed along where nothing switches them off. What is not as released, for a
fair comparison: the steps are as many as the plugins', nothing is evaluated in between, and a step of ABL's unlearning
takes isolated rows and others, as the plugin's does (equation 4); the released one takes isolated rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Rows = tuple[Tensor, Tensor]
"""Pictures (N, C, H, W) in [0, 1] and labels (N,)."""


def batches(rows: Rows, size: int) -> Iterator[Rows]:
    """Once all rows, in an order of chance."""
    for chosen in torch.randperm(len(rows[1])).split(size):
        yield rows[0][chosen], rows[1][chosen]


def endless(rows: Rows, size: int, steps: int) -> Iterator[Rows]:
    """So many batches."""
    done = 0
    while True:
        for batch in batches(rows, size):
            if done == steps:
                return
            done += 1
            yield batch


def train(
    network: nn.Module, rows: Rows, *, epochs: int, size: int, rate: float, loss: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """SGD with momentum and weight decay on a loss of logits and labels: fine-tuning, and each part of ABL."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    for _ in range(epochs):
        for pictures, labels in batches(rows, size):
            optimizer.zero_grad()
            loss(network(pictures), labels).backward()
            optimizer.step()


def fine_tune(network: nn.Module, rows: Rows, *, epochs: int, size: int) -> None:
    """All weights, with cross entropy."""
    train(network, rows, epochs=epochs, size=size, rate=0.01, loss=functional.cross_entropy)


class NoisyNorm(nn.Module):
    """A batch normalisation with a mask and relative changes of scale and shift, as ANP's released network has it."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.norm, size = norm, len(norm.weight)
        self.mask = nn.Parameter(torch.ones(size))
        self.scale, self.shift = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size))
        self.noisy = False

    def forward(self, x: Tensor) -> Tensor:
        """With the changes where ``noisy``."""
        norm = self.norm
        weight, bias = norm.weight * self.mask, norm.bias
        if self.noisy:
            weight, bias = norm.weight * (self.mask + self.scale), norm.bias * (1 + self.shift)
        return functional.batch_norm(
            x, norm.running_mean, norm.running_var, weight, bias, self.training, norm.momentum, norm.eps
        )


def noisy_norms(network: nn.Module) -> list[NoisyNorm]:
    """Put them in the place of all batch normalisations."""
    found = []
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                found.append(NoisyNorm(child))
                setattr(module, name, found[-1])
    return found


def anp(network: nn.Module, rows: Rows, *, steps: int, size: int, radius: float, trade_off: float) -> None:
    """One signed step of the changes from a random start, one step of the masks, and so on."""
    norms = noisy_norms(network)
    network.train()
    masks = torch.optim.SGD([norm.mask for norm in norms], lr=0.2, momentum=0.9)
    changes = [value for norm in norms for value in (norm.scale, norm.shift)]

    def noisy(on: bool) -> None:
        for norm in norms:
            norm.noisy = on

    for pictures, labels in endless(rows, size, steps):
        for value in changes:
            nn.init.uniform_(value, -radius, radius)
            value.grad = None
        noisy(True)
        (-functional.cross_entropy(network(pictures), labels)).backward()
        with torch.no_grad():
            for value in changes:
                assert value.grad is not None
                value.sub_(radius * value.grad.sign()).clamp_(-radius, radius)
        masks.zero_grad()
        robust = functional.cross_entropy(network(pictures), labels)
        noisy(False)
        natural = functional.cross_entropy(network(pictures), labels)
        (trade_off * natural + (1 - trade_off) * robust).backward()
        masks.step()
        with torch.no_grad():
            for norm in norms:
                norm.mask.clamp_(0, 1)


def neural_cleanse(network: nn.Module, rows: Rows, classes: int, *, steps: int, size: int) -> list[Tensor]:
    """Mask and pattern of one class after the other, by Adam; the network is frozen."""
    network.eval().requires_grad_(False)
    shape, found = rows[0].shape[1:], []
    for target in range(classes):
        mask, pattern = (torch.randn(count, *shape[1:]).requires_grad_() for count in (1, shape[0]))
        optimizer = torch.optim.Adam([mask, pattern], lr=0.1, betas=(0.5, 0.9))
        weight, hits = 1e-3, []
        for pictures, labels in endless(rows, size, steps):
            optimizer.zero_grad()
            m, p = (torch.tanh(value) / 2 + 0.5 for value in (mask, pattern))
            logits = network((1 - m) * pictures + m * p)
            wanted = torch.full_like(labels, target)
            (functional.cross_entropy(logits, wanted) + weight * m.abs().sum()).backward()
            optimizer.step()
            hits.append(float((logits.argmax(1) == wanted).float().mean()))
            if len(hits) % 5 == 0:
                weight *= 2 if sum(hits[-5:]) / 5 >= 0.98 else 2**-1.5
        found.append(m.detach())
    return found


def i_bau(network: nn.Module, rows: Rows, *, rounds: int, size: int, fixed_point_steps: int) -> None:
    """A perturbation from one pass over the rows, then a step against it for each batch, by the implicit gradient."""
    network.eval()
    weights = list(network.parameters())
    outer = torch.optim.SGD(weights, lr=0.001, momentum=0.9)
    for _ in range(rounds):
        d = torch.zeros_like(rows[0][:1]).requires_grad_()
        ascent = torch.optim.SGD([d], lr=10.0)
        for pictures, _ in batches(rows, size):
            with torch.no_grad():
                said = network(pictures).argmax(1)
            ascent.zero_grad()
            loss = -functional.cross_entropy(network(pictures + d), said) + 1e-3 * d.square().sum()
            loss.backward()
            ascent.step()
        d = (d * min(1.0, 10.0 / float(d.detach().norm().clamp_min(1e-12)))).detach()
        for pictures, labels in batches(rows, size):
            point = d.clone().requires_grad_()
            value = functional.cross_entropy(network(pictures + point), labels)
            pull, *direct = torch.autograd.grad(value, [point, *weights])
            inner = -functional.cross_entropy(network(pictures + point), labels) + 1e-3 * point.square().sum()
            (slope,) = torch.autograd.grad(inner, point, create_graph=True)
            mapped, v = point - 0.1 * slope, torch.zeros_like(pull)
            for _ in range(fixed_point_steps):
                (turned,) = torch.autograd.grad(mapped, point, v, retain_graph=True)
                v = turned + pull
            implicit = torch.autograd.grad(mapped, weights, v, allow_unused=True)
            for weight, one, other in zip(weights, direct, implicit, strict=True):
                weight.grad = one if other is None else one + other
            outer.step()


def abl(
    network: nn.Module, fresh: nn.Module, rows: Rows, *, epochs: tuple[int, int, int], size: int, share: float
) -> None:
    """Isolation by local gradient ascent, the loss of each row by itself, training on the rest, unlearning."""

    def ascent(logits: Tensor, labels: Tensor) -> Tensor:
        loss = functional.cross_entropy(logits, labels)
        return (loss.detach() - 0.5).sign() * loss

    isolation, training, unlearning = epochs
    train(network, rows, epochs=isolation, size=size, rate=0.1, loss=ascent)
    network.eval()
    with torch.no_grad():
        losses = torch.stack(
            [functional.cross_entropy(network(rows[0][n : n + 1]), rows[1][n : n + 1]) for n in range(len(rows[1]))]
        )
    order = losses.argsort()
    cut = max(1, round(share * len(order)))
    bad, rest = ((rows[0][part], rows[1][part]) for part in (order[:cut], order[cut:]))
    train(fresh, rest, epochs=training, size=size, rate=0.1, loss=functional.cross_entropy)
    optimizer = torch.optim.SGD(fresh.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for _ in range(unlearning):
        for pictures, labels in batches(rest, size):
            chosen = torch.randint(len(bad[1]), (len(labels),))
            optimizer.zero_grad()
            learnt = functional.cross_entropy(fresh(pictures), labels)
            (learnt - functional.cross_entropy(fresh(bad[0][chosen]), bad[1][chosen])).backward()
            optimizer.step()
