"""Rows that part from all others while the largest cluster stays whole (Hou et al., FLARE, 2024, arXiv 2411.19479,
algorithm 1, as in the authors' code).

Clean rows of all classes are one cluster where the last layers do not tell classes apart. Layers are therefore left
out from the end, until a large cluster is stable: it lasts longer than xi as the density rises. The other clusters that
there are when it ends are poisoned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bdm_defense_flare.condensed_tree import CondensedTree, Floats, condensed_tree
from bdm_defense_flare.params import MISSING_UMAP
from bdm_kit_classification.analysis.umap_places import umap_places

Embedding = Callable[[Tensor], Floats]
"""embed(vectors (N, L)): places (N, D)."""


@dataclass(frozen=True, eq=False)
class Separation:
    """The rows that part.

    Attributes:
        left_out: how many last layers do not count.
        lasting: how long the largest cluster is whole, as a difference of densities.
        membership: (N,) in (0, 1] of the rows that part, how long they stay in their cluster; 0 of all others.
    """

    left_out: int
    lasting: float
    membership: Tensor


def standardised(vectors: Tensor) -> Floats:
    """Vectors (N, L) over their standard deviations, around 0."""
    values: Floats = ((vectors - vectors.mean(0)) / vectors.std(0).clamp_min(1e-9)).numpy()
    return values


def by_umap(vectors: Tensor, neighbours: int, seed: int) -> Floats:
    """Places (N, 2) of vectors (N, L) by UMAP (McInnes et al., 2018, arXiv 1802.03426), as close as they will go.

    Raises:
        UserError: umap-learn is not installed.
    """
    width = max(2, min(neighbours, len(vectors) - 1))
    return umap_places(vectors.numpy(), width, 0.0, seed, MISSING_UMAP)


def stable_density(tree: CondensedTree, least: float, depth: int) -> tuple[float, float] | None:
    """The density at which to look, and how long the stable cluster lasts; None if there is no such cluster.

    From the larger of the two clusters that all rows split into one goes to the larger part, ``depth`` times at most,
    until a cluster lasts longer than ``least``. One looks where it ends; where it does not split, as soon as it has
    lasted that long.
    """
    cluster = 0
    for _ in range(depth):
        parts = tree.children(cluster)
        if not parts:
            return None
        cluster = max(parts, key=lambda part: tree.sizes[part])
        lasting = tree.deaths[cluster] - tree.births[cluster]
        if lasting > least:
            whole = tree.births[cluster] + least
            return (tree.deaths[cluster] if tree.children(cluster) else whole), lasting
    return None


def parted(tree: CondensedTree, density: float) -> Tensor:
    """Membership (N,) of the rows of all clusters at a density but the largest one: the density up to which a row stays
    over the highest of its cluster's, in (0, 1]; 0 of all others.
    """
    there = tree.at(density)
    names, sizes = np.unique(there[there >= 0], return_counts=True)
    membership = np.zeros(len(there))
    for name in np.delete(names, sizes.argmax()) if len(names) else names:
        own = there == name
        membership[own] = tree.leaves[own] / tree.leaves[own].max()
    return torch.from_numpy(membership)


def separate(
    vectors: Tensor, embed: Embedding, smallest: int, neighbours: int, least: float, depth: int
) -> Separation | None:
    """The rows that part from all others in the first space that has a stable cluster; None if none has.

    Args:
        vectors: (N, L), the layers in order.
        embed: places of vectors of the first layers.
        smallest: rows of a cluster, 2 or more.
        neighbours: rows that make a place dense.
        least: xi, a difference of densities.
        depth: splits that one follows.
    """
    for left_out in range(vectors.shape[1]):
        tree = condensed_tree(embed(vectors[:, : vectors.shape[1] - left_out]), smallest, neighbours)
        found = stable_density(tree, least, depth)
        if found is not None:
            return Separation(left_out, found[1], parted(tree, found[0]))
    return None
