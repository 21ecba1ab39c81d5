"""AMDet (2512.00343): inversion of a pseudo token, and the four conditions on what it does.

With h the embedded tokens of a caption (positions added), v a vector that is put behind the first of them, E the
suspect text encoder and A a clean one, Adam minimises

    - s(E(h + v)) + beta cos(E(h), E(h + v)) + gamma cos(A(h + v), E(h + v)),

where s is the mean cosine of all pairs of token positions, and cos the mean over positions. A backdoored encoder has a
v that makes all positions alike, for every caption the same, unlike a clean encoder's, at a minimum that is convex.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bdm_defense_amdet.params import AmdetParams

Encode = Callable[[Tensor], Tensor]
"""Embedded tokens (N, L, d) -> the last hidden states (N, L, d)."""
PUBLISHED = (0.8, 0.92, 0.0, 0.8)
"""The published limits of the four features; of the third for minus the cosine."""
SHARES = (0.8, 0.995, 0.95)
"""Of so many test captions the first three are asked."""
CONVEX = 1e-6
"""An eigenvalue counts as positive above this."""


@dataclass(frozen=True, eq=False)
class Encoders:
    """The two text encoders behind their embeddings, and captions embedded by each.

    Attributes:
        suspect, anchor: from embedded tokens on.
        own, clean: (N, L, d) each, the captions embedded by the suspect and by the anchor.
    """

    suspect: Encode
    anchor: Encode
    own: Tensor
    clean: Tensor

    def rows(self, index: Tensor) -> Encoders:
        """The same with some of the captions."""
        return Encoders(self.suspect, self.anchor, self.own[index], self.clean[index])


def inserted(embedded: Tensor, vector: Tensor) -> Tensor:
    """Captions (N, L, d) with a vector (d,) behind the first position, cut to L; positions are not added again.

    >>> inserted(torch.arange(4.0).view(1, 4, 1), torch.tensor([9.0])).flatten().tolist()
    [0.0, 9.0, 1.0, 2.0]
    """
    middle = vector.expand(len(embedded), 1, -1)
    return torch.cat([embedded[:, :1], middle, embedded[:, 1:-1]], dim=1)


def assimilation(hidden: Tensor) -> Tensor:
    """s: the mean cosine of all pairs of positions, the diagonal included, of each of N captions (N, L, d): (N,)."""
    unit = functional.normalize(hidden, dim=-1)
    return unit.mean(1).square().sum(-1)


def objective(encoders: Encoders, vector: Tensor, params: AmdetParams) -> Tensor:
    """The loss, mean over captions."""
    found = encoders.suspect(inserted(encoders.own, vector))
    with torch.no_grad():
        before = encoders.suspect(encoders.own)
    anchor = encoders.anchor(inserted(encoders.clean, vector))
    own = functional.cosine_similarity(before, found, dim=-1).mean()
    other = functional.cosine_similarity(anchor, found, dim=-1).mean()
    return -assimilation(found).mean() + params.own_weight * own + params.anchor_weight * other


def invert(encoders: Encoders, params: AmdetParams, seed: int) -> tuple[Tensor, list[float]]:
    """The vector (d,) of one start, and the loss before each step.

    Args:
        encoders: with the captions to invert on.
        params: epochs, batch, rates, weights.
        seed: of the start, N(0, I), and of the order of captions.
    """
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(encoders.own.shape[-1], generator=generator).to(encoders.own.device).requires_grad_(True)
    optimizer = torch.optim.Adam([vector], lr=params.learning_rate, weight_decay=params.weight_decay)
    losses = []
    for _ in range(params.epochs):
        for rows in torch.randperm(len(encoders.own), generator=generator).split(params.batch_size):
            optimizer.zero_grad()
            loss = objective(encoders.rows(rows), vector, params)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
    return vector.detach(), losses


def features(encoders: Encoders, vector: Tensor, params: AmdetParams, seed: int) -> list[float]:
    """The four features on test captions, each above its limit for a backdoor.

    1. The assimilation that .8 of the captions exceed.
    2. The cosine to the first caption's hidden states, mean over positions, that .995 of the others exceed.
    3. Minus the cosine to the clean encoder's hidden states, mean over positions, that .95 of the captions exceed.
    4. The share of positive eigenvalues of the loss's Hessians around v.
    """
    with torch.no_grad():
        found = encoders.suspect(inserted(encoders.own, vector))
        anchor = encoders.anchor(inserted(encoders.clean, vector))
        alike = assimilation(found)
        same = functional.cosine_similarity(found[1:], found[:1], dim=-1).mean(1)
        same = same if len(same) else alike.new_ones(1)
        unlike = -functional.cosine_similarity(found, anchor, dim=-1).mean(1)
    shares = zip((alike, same, unlike), SHARES, strict=True)
    first = [float(torch.quantile(values.double(), 1 - share, interpolation="lower")) for values, share in shares]
    return [*first, convexity(encoders, vector, params, seed)]


def convexity(encoders: Encoders, vector: Tensor, params: AmdetParams, seed: int) -> float:
    """The share of positive eigenvalues of the Hessians of the loss on a plane through v.

    The plane is spanned by the direction of steepest descent and a random one at a right angle to it.
    """
    point = vector.clone().requires_grad_(True)
    few = encoders.rows(torch.arange(min(len(encoders.own), params.batch_size)))
    (gradient,) = torch.autograd.grad(objective(few, point, params), point)
    first = functional.normalize(-gradient, dim=0)
    drawn = torch.randn(first.shape, generator=torch.Generator().manual_seed(seed)).to(first.device)
    second = functional.normalize(drawn - (drawn @ first) * first, dim=0)
    steps = torch.linspace(-params.radius, params.radius, params.grid).tolist()
    with torch.no_grad():
        values = [[float(objective(few, vector + x * first + y * second, params)) for y in steps] for x in steps]
    return positive_share(torch.tensor(values, dtype=torch.float64), steps[1] - steps[0])


def positive_share(values: Tensor, spacing: float) -> float:
    """The share of eigenvalues above 1e-6 of the finite-difference Hessians inside a grid of values (G, G), G >= 3.

    >>> axis = torch.linspace(-1, 1, 5, dtype=torch.float64)
    >>> positive_share(axis[:, None] ** 2 + axis**2, 0.5), positive_share(axis[:, None] ** 2 - axis**2, 0.5)
    (1.0, 0.5)
    """
    centre = values[1:-1, 1:-1]
    along = (values[2:, 1:-1] - 2 * centre + values[:-2, 1:-1]) / spacing**2
    across = (values[1:-1, 2:] - 2 * centre + values[1:-1, :-2]) / spacing**2
    mixed = (values[2:, 2:] - values[2:, :-2] - values[:-2, 2:] + values[:-2, :-2]) / (4 * spacing**2)
    hessians = torch.stack([torch.stack([along, mixed], -1), torch.stack([mixed, across], -1)], -1)
    return float((torch.linalg.eigvalsh(hessians) > CONVEX).double().mean())
