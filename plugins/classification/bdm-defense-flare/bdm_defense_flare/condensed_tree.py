"""HDBSCAN's condensed tree (Campello et al., PAKDD 2013; McInnes and Healy, 2017, arXiv 1705.07321).

Two rows are as far apart as the largest of their distance and the distances of both to their k-th nearest row. As the
density lambda = 1 / distance rises, links longer than 1 / lambda are cut: a cluster loses rows, until it splits into
two of at least ``smallest`` rows or has too few itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

Floats = NDArray[np.float64]
SHORTEST = 1e-12
"""Distances are taken for at least this, so that each density is finite."""


@dataclass(frozen=True, eq=False)
class CondensedTree:
    """Clusters by density; cluster 0 has all rows.

    Attributes:
        parents: the cluster that each cluster comes from; -1 of cluster 0.
        births: the density above which there is the cluster.
        deaths: the density up to which there is: it splits, or has fewer than ``smallest`` rows.
        sizes: rows of each cluster at its birth.
        rows: (N,) the last cluster that each row is in.
        leaves: (N,) the density up to which it is in that cluster.
    """

    parents: list[int]
    births: list[float]
    deaths: list[float]
    sizes: list[int]
    rows: NDArray[np.int64]
    leaves: Floats

    def children(self, cluster: int) -> list[int]:
        """The two clusters that a cluster splits into; none if it does not."""
        return [child for child, parent in enumerate(self.parents) if parent == cluster]

    def at(self, density: float) -> NDArray[np.int64]:
        """(N,) the cluster that each row is in at a density; -1 of rows that are in none."""
        alive = []
        for cluster in range(len(self.parents)):
            while cluster > 0 and self.births[cluster] >= density:
                cluster = self.parents[cluster]
            alive.append(cluster)
        return np.where(self.leaves >= density, np.array(alive)[self.rows], -1)


def spanning_tree(values: Floats, neighbours: int) -> tuple[NDArray[np.int64], Floats]:
    """Links (N - 1, 2) and lengths (N - 1,) of the minimum spanning tree, the shortest first (Prim's algorithm).

    Args:
        values: (N, F), at least two rows.
        neighbours: k, a row itself being its first; at most N.
    """
    count = len(values)
    core = NearestNeighbors(n_neighbors=min(neighbours, count)).fit(values).kneighbors(values)[0][:, -1]
    nearest, origin = np.full(count, np.inf), np.zeros(count, dtype=np.int64)
    outside = np.ones(count, dtype=bool)
    links, lengths = np.zeros((count - 1, 2), dtype=np.int64), np.zeros(count - 1)
    here = 0
    for step in range(count - 1):
        outside[here] = False
        away = np.sqrt(np.square(values - values[here]).sum(1))
        away = np.maximum(np.maximum(away, core), core[here])
        closer = outside & (away < nearest)
        nearest[closer], origin[closer] = away[closer], here
        nearest[here] = np.inf
        there = int(nearest.argmin())
        links[step], lengths[step] = (origin[there], there), nearest[there]
        here = there
    order = lengths.argsort(kind="stable")
    return links[order], lengths[order]


def merges(links: NDArray[np.int64], lengths: Floats) -> list[tuple[int, int, float, int]]:
    """Which two nodes each link joins, shortest first, at which length, and how many rows they have then.

    Nodes below N are rows, node N + i is what merge i makes, as in SciPy's linkage.
    """
    count = len(links) + 1
    root = list(range(2 * count - 1))
    sizes = [1] * count
    found = []
    for number, ((left, right), length) in enumerate(zip(links.tolist(), lengths.tolist(), strict=True)):
        pair = []
        for node in (left, right):
            while root[node] != node:
                root[node] = root[root[node]]
                node = root[node]
            root[node] = count + number
            pair.append(node)
        sizes.append(sizes[pair[0]] + sizes[pair[1]])
        found.append((min(pair), max(pair), float(length), sizes[-1]))
    return found


def condense(joined: list[tuple[int, int, float, int]], smallest: int) -> CondensedTree:
    """The condensed tree of :func:`merges`.

    Args:
        joined: N - 1 merges.
        smallest: rows that a cluster has at least, 2 or more.
    """
    count = len(joined) + 1
    sizes = [1] * count + [size for *_, size in joined]
    rows, leaves = np.zeros(count, dtype=np.int64), np.zeros(count)
    parents, births, deaths, found = [-1], [0.0], [0.0], [count]
    waiting = [(2 * count - 2, 0)]
    while waiting:
        node, cluster = waiting.pop()
        *pair, length, _ = joined[node - count]
        density = 1 / max(length, SHORTEST)
        large = [child for child in pair if sizes[child] >= smallest]
        for child in pair:
            if child not in large:
                members = rows_below(child, joined)
                rows[members], leaves[members] = cluster, density
        if len(large) == 1:
            waiting.append((large[0], cluster))
            continue
        deaths[cluster] = density
        for child in large:
            waiting.append((child, len(parents)))
            parents.append(cluster)
            births.append(density)
            deaths.append(density)
            found.append(sizes[child])
    return CondensedTree(parents, births, deaths, found, rows, leaves)


def rows_below(node: int, joined: list[tuple[int, int, float, int]]) -> list[int]:
    """The rows that a node of :func:`merges` has."""
    count, members, waiting = len(joined) + 1, [], [node]
    while waiting:
        node = waiting.pop()
        if node < count:
            members.append(node)
        else:
            waiting += joined[node - count][:2]
    return members


def condensed_tree(values: NDArray[Any], smallest: int, neighbours: int) -> CondensedTree:
    """The condensed tree of values (N, F).

    >>> tree = condensed_tree(np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [13.0]]), smallest=3, neighbours=1)
    >>> tree.births, tree.deaths, tree.sizes
    ([0.0, 0.125, 0.125], [0.125, 1.0, 0.5], [6, 3, 3])
    >>> tree.at(0.4).tolist(), tree.at(0.6).tolist()
    ([1, 1, 1, 2, 2, 2], [1, 1, 1, -1, -1, -1])
    """
    links, lengths = spanning_tree(np.asarray(values, dtype=np.float64), neighbours)
    return condense(merges(links, lengths), max(smallest, 2))
