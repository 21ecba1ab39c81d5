"""The generator of the universal adversarial perturbation (UIBDiffusion, 2412.11441, section 3; GUAP, 2010.07788).

From one fixed noise the generator makes a perturbation u, |u| <= 1, and a flow field f. Both together, the same for all
images, shall change the class that a classifier C sees:

    x' = clamp(warp(x, f) + e u, -1, 1),     minimise  -log E cross-entropy(C(x'), C(x)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

Classifier = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) in [-1, 1] -> class scores (N, K)."""
Progress = Callable[[int, int, float], None]
WIDTH, SEED_CHANNELS = 32, 16


class PerturbationGenerator(nn.Module):
    """(u, f) of shapes (C, H, W) in [-1, 1] and (2, H, W) in pixels, from one fixed noise; any size of image.

    Args:
        shape: (C, H, W).
        largest_flow: of either component of f, in pixels.
        generator: draws the fixed noise.
    """

    seed: Tensor

    def __init__(self, shape: tuple[int, int, int], largest_flow: float, generator: torch.Generator) -> None:
        super().__init__()
        self.shape, self.largest_flow = shape, largest_flow
        quarter = [-(-side // 4) for side in shape[1:]]
        self.register_buffer("seed", torch.rand(1, SEED_CHANNELS, *quarter, generator=generator))
        self.first = nn.Conv2d(SEED_CHANNELS, WIDTH, 3, padding=1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.last = nn.Conv2d(WIDTH, shape[0] + 2, 3, padding=1)

    def forward(self) -> tuple[Tensor, Tensor]:
        _, height, width = self.shape
        hidden = functional.silu(self.first(self.seed))
        hidden = functional.interpolate(hidden, size=(-(-height // 2), -(-width // 2)))
        hidden = functional.silu(self.second(hidden))
        output = self.last(functional.interpolate(hidden, size=(height, width)))[0]
        raw, flow = output.split([self.shape[0], 2])
        perturbation = raw.tanh()
        return perturbation / perturbation.abs().max().clamp(min=1e-6), self.largest_flow * flow.tanh()


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Images (N, C, H, W) whose pixel (i, j) comes from (i + f_y, j + f_x), bilinear; flow (2, H, W): f_x, f_y."""
    height, width = images.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=images.device), torch.arange(width, device=images.device), indexing="ij"
    )
    x, y = columns + flow[0], rows + flow[1]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return functional.grid_sample(
        images, grid.expand(len(images), -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=False
    )


def perturb(images: Tensor, perturbation: Tensor, size: float, flow: Tensor | None = None) -> Tensor:
    """x' above."""
    moved = images if flow is None else warp(images, flow)
    return (moved + size * perturbation).clamp(-1, 1)


def fooling_rate(classifier: Classifier, images: Tensor, perturbed: Tensor) -> float:
    """Share of the images whose class, as the classifier sees it, is another after the perturbation."""
    with torch.no_grad():
        return float((classifier(images).argmax(1) != classifier(perturbed).argmax(1)).float().mean())


@dataclass(frozen=True)
class GeneratorOptions:
    """How the generator is trained.

    Attributes:
        fooling_scale: e, above 0.
        largest_flow: in pixels; 0 for no flow.
        steps: of Adam.
        batch_size: images a step.
        learning_rate: Adam's.
    """

    fooling_scale: float
    largest_flow: float
    steps: int
    batch_size: int
    learning_rate: float


def universal_perturbation(
    images: Tensor,
    classifier: Classifier,
    options: GeneratorOptions,
    *,
    seed: int,
    on_step: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """Train a generator against the classifier; returns (u, f), u (C, H, W) with the largest absolute value 1.

    Args:
        images: (N, C, H, W) in [-1, 1], on the classifier's device.
        classifier: differentiable; its weights are left alone.
        options: of the training.
        seed: of the weights, the fixed noise and the batches.
        on_step: called as ``on_step(done, total, loss)`` after each step.
    """
    draws = torch.Generator().manual_seed(seed % 2**63)
    shape = images.shape[1], images.shape[2], images.shape[3]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        generator = PerturbationGenerator(shape, options.largest_flow, draws).to(images.device)
    optimizer = torch.optim.Adam(generator.parameters(), lr=options.learning_rate)
    for step in range(options.steps):
        batch = images[torch.randint(len(images), (options.batch_size,), generator=draws).to(images.device)]
        with torch.no_grad():
            seen = classifier(batch).argmax(1)
        perturbation, flow = generator()
        scores = classifier(perturb(batch, perturbation, options.fooling_scale, flow))
        loss = -functional.cross_entropy(scores, seen).clamp(min=1e-6).log()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if on_step is not None:
            on_step(step + 1, options.steps, float(loss.detach()))
    with torch.no_grad():
        perturbation, flow = generator()
    return perturbation.detach(), flow.detach()
