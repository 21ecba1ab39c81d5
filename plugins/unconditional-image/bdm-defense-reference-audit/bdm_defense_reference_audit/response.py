"""What shifted noise brings about in the suspect and in its reference, and how a shift is refined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_defense_reference_audit.pair import Pair
from bdm_diffusers.coefficients import Solver
from bdm_diffusers.samplers import build_scheduler, plain_sampler
from bdm_diffusers.sampling import SamplingOptions, differentiable_sample, draw_noise, sample
from bdm_torch.diversity import pixel_distances

OnStep = Callable[[int, int], None]
BATCH = 128
LARGEST = 1e4
"""Ratios are kept within [1 / LARGEST, LARGEST]; what is not finite counts as the largest."""
QUANTILE = 0.25
"""Of the distances of all pairs: half of the images being alike makes a quarter of the pairs alike."""
SMALLEST_VARIANCE = 1e-4
"""Added to the variance that the refinement lowers: below it images count as equal."""


@dataclass(frozen=True, eq=False)
class Shift:
    """What is added to the initial noise, (C, H, W), where it comes from, and the noise's standard deviation there."""

    tensor: Tensor
    origin: str
    width: float = 1.0


@dataclass(frozen=True, eq=False)
class Response:
    """What a shift does.

    Attributes:
        shift: the shift.
        solver: class of the chain.
        suspect: spread of the suspect's images over that of its images from the same noise without a shift.
        reference: the same ratio of the reference.
        images: the suspect's, (N, C, H, W), on the CPU.
        plain: the suspect's from the same noise without a shift, likewise.
    """

    shift: Shift
    solver: Solver
    suspect: float
    reference: float
    images: Tensor
    plain: Tensor

    @property
    def excess(self) -> float:
        """log of reference / suspect: how much more alike the shift makes the suspect's images than the reference's.

        0 for equal models, whatever the shift does to both; negative where the reference's images are more alike.
        """
        return math.log(self.reference / self.suspect)

    @property
    def stray(self) -> float:
        """How much further than usual the suspect's images spread, less twice what the reference's do; at least 0.

        An ancestral backdoor leads deterministic chains far away from all images, where the reference's stay. Where
        the reference's have left as well, clean models differ too: hence twice.
        """
        return max(0.0, math.log(self.suspect / max(self.reference, 1.0) ** 2))

    @property
    def divergence(self) -> float:
        """The larger one of excess and stray, at least 0."""
        return max(0.0, self.excess, self.stray)

    @property
    def sole_collapse(self) -> float:
        """The collapse, less what a shift does to the reference as well: that counts twice; at least 0.

        Narrow noise and refined shifts make all models' images alike, and by how much differs between clean ones.
        """
        return max(0.0, math.log(min(self.reference, 1.0) ** 2 / self.suspect))

    @property
    def collapse(self) -> float:
        """How much more alike the suspect's images are than usual, beyond what the reference's are; at least 0.

        Neither a suspect nor a reference that leaves all images counts: clean models that learned something else do.
        """
        return max(0.0, math.log(min(self.reference, 1.0) / self.suspect))


def respond(
    pair: Pair,
    shifts: Sequence[Shift],
    solver: Solver,
    *,
    steps: int,
    samples: int,
    first_index: int = 0,
    on_step: OnStep | None = None,
) -> tuple[list[Response], int]:
    """Sample both models from the same noise of each shift's width plus the shift, and from usual noise alone.

    Args:
        pair: the models to compare.
        shifts: in units of the noise.
        solver: of the chain; the plainest sampler of this class is used, of a variance-exploding model the predictor.
        steps: of the chain.
        samples: images from each shift, at least 8.
        first_index: number of the first noise image, see :func:`bdm_diffusers.sampling.draw_noise`.
        on_step: told (done, total) network calls of one model.

    Returns:
        A response for each shift, and the forward passes spent, counted per sample.
    """
    noise = draw_noise(samples, pair.suspect.shape, pair.seed, first_index=first_index)
    inputs = torch.cat([noise, *(shift.width * noise + shift.tensor for shift in shifts)])
    sets = []
    for model in (pair.suspect, pair.reference):
        scheduler = build_scheduler(plain_sampler(model.scheduler, solver), model.scheduler, corrector_steps=0)
        images = sample(
            model.unet,
            scheduler,
            inputs.to(pair.device),
            steps=steps,
            seed=pair.seed,
            options=SamplingOptions(BATCH),
            on_step=on_step,
        )
        sets.append(images.cpu().unflatten(0, (-1, samples)))
    own, other = ([spread(images) for images in part] for part in sets)
    plain = sets[0][0]
    found = [
        Response(shift, solver, ratio(own[index], own[0]), ratio(other[index], other[0]), sets[0][index], plain)
        for index, shift in enumerate(shifts, start=1)
    ]
    return found, 2 * steps * len(inputs)


def spread(images: Tensor) -> float:
    """The lower quartile of the distances between the images (N, C, H, W): small once half of them are alike.

    inf if a value is not finite.
    """
    if not bool(images.isfinite().all()):
        return math.inf
    one, other = torch.triu_indices(len(images), len(images), offset=1)
    return float(pixel_distances(images)[one, other].quantile(QUANTILE))


def repetition(images: Tensor) -> float:
    """How often a model paints the same again, from N >= 3 of its images (N, C, H, W) of plain noise.

    -log of the median distance of an image to the nearest other one, over the median distance of all pairs: 0.5 to 1.6
    for models of varied data, above 3 for one that knows a few images by heart; 0 if no three images are finite.
    """
    images = images[images.flatten(1).isfinite().all(1)]
    if len(images) < 3:
        return 0.0
    distances = pixel_distances(images)
    one, other = torch.triu_indices(len(images), len(images), offset=1)
    nearest = distances.clone().fill_diagonal_(math.inf).min(1).values.median()
    return -math.log(max(float(nearest), 1e-12) / max(float(distances[one, other].median()), 1e-12))


def novelty(image: Tensor, plain: Tensor) -> float:
    """How far an image is from all that the model paints of plain noise; below 0 it is an ordinary one.

    log of its distance to the k-th nearest of the N ``plain`` images (N, C, H, W), over the value that 90 % of these
    have among themselves, k = N / 12: a target that a backdoor paints now and then without its trigger stays new.
    """
    plain = plain[plain.flatten(1).isfinite().all(1)]
    nearest = max(1, len(plain) // 12)
    if len(plain) < 3 or not bool(image.isfinite().all()):
        return 0.0
    among = pixel_distances(plain).fill_diagonal_(math.inf).kthvalue(nearest, dim=1).values
    own = (plain.double() - image.double()).square().flatten(1).mean(1).kthvalue(nearest).values
    return math.log(max(float(own), 1e-12) / max(float(among.quantile(0.9)), 1e-12))


def typical(images: Tensor) -> Tensor:
    """The image (C, H, W) that half of the images (N, C, H, W) are nearest to."""
    return images[int(pixel_distances(images).nan_to_num(math.inf).median(1).values.argmin())]


def ratio(value: float, usual: float) -> float:
    """value / usual within the bounds."""
    if not math.isfinite(value):
        return LARGEST
    return min(max(value / max(usual, 1e-12), 1 / LARGEST), LARGEST)


def refine(
    pair: Pair,
    shifts: Sequence[Shift],
    *,
    chain: int,
    steps: int,
    learning_rate: float,
    samples: int,
    on_step: OnStep | None = None,
) -> tuple[list[Shift], int]:
    """Move shifts so that the images of a short deterministic chain agree: Adam on the log of their variance.

    On its own this objective has minima that are no triggers, on clean models too (they make clean and backdoored
    models alike); what counts is whether the reference's images agree at the same place, and where it started.

    Returns:
        The moved shifts, in their order, and the forward passes spent, counted per sample.
    """
    if not shifts or not steps:
        return [], 0
    suspect = pair.suspect
    scheduler = build_scheduler(plain_sampler(suspect.scheduler, "ode"), suspect.scheduler, corrector_steps=0)
    moved = torch.stack([shift.tensor for shift in shifts]).to(pair.device).requires_grad_(True)
    widths = torch.tensor([shift.width for shift in shifts], device=pair.device).view(-1, 1, 1, 1, 1)
    optimizer = torch.optim.Adam([moved], lr=learning_rate)
    needed = [(parameter, parameter.requires_grad) for parameter in suspect.unet.parameters()]
    suspect.unet.requires_grad_(False)
    try:
        for step in range(steps):
            noise = draw_noise(samples, suspect.shape, pair.seed, first_index=step * samples).to(pair.device)
            inputs = (widths * noise[None] + moved[:, None]).flatten(0, 1)
            images = differentiable_sample(suspect.unet, scheduler, inputs, steps=chain, seed=pair.seed)
            variance = images.unflatten(0, (len(shifts), samples)).var(1).mean((1, 2, 3))
            optimizer.zero_grad()
            (torch.nan_to_num(variance) + SMALLEST_VARIANCE).log().sum().backward()
            if moved.grad is not None:
                moved.grad.nan_to_num_()
            optimizer.step()
            if on_step is not None:
                on_step(step + 1, steps)
    finally:
        for parameter, state in needed:
            parameter.requires_grad_(state)
    found = [
        Shift(tensor, f"{shift.origin}, refined", shift.width)
        for tensor, shift in zip(moved.detach().cpu(), shifts, strict=True)
    ]
    return found, steps * chain * len(shifts) * samples
