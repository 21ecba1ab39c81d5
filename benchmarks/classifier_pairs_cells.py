"""Which pairs of a plan are still to be measured, and which attacks go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from classifier_pairs_making import OTHER_NETWORK, SHARED

from bdm_sweep import Plan
from bdm_sweep.cells import Cell, Preparation, cells_of
from bdm_sweep.plan import Method


def grouped(
    plan: Plan, wanted: Sequence[tuple[int, Method]], known: Set[str], preparation: Preparation, most: int
) -> Iterator[tuple[int, list[Method]]]:
    """Seeds, each with attacks in the plan's order of which the same defenses are not known; at most so many."""
    seed_before, before, group = -1, None, list[Method]()
    for seed, attack in wanted:
        one = plan.model_copy(update={"attacks": [attack], "seeds": [seed]})
        found = cells_of(one, preparation)
        cells = [*found.possible, *(cell for cell, _ in found.impossible)]
        left = [cell.spec.defense for cell in cells if cell.name not in known]
        if not left:
            continue
        if group and (seed != seed_before or left != before or len(group) == most):
            yield seed_before, group
            group = []
        group, seed_before, before = [*group, attack], seed, left
    if group:
        yield seed_before, group


def is_shared(cell: Cell) -> bool:
    """Whether a pair is MNTD's with the meta classifier of the clean model."""
    return cell.spec.defense == SHARED and shares(str(cell.spec.attack))


def missing(
    plan: Plan, wanted: Sequence[tuple[int, Method]], known: Set[str], preparation: Preparation
) -> list[tuple[str, int]]:
    """Models and seeds of whose meta classifier some pair that is wanted is not known yet."""
    found = {}
    mine = [item for item in plan.defenses if item.name == SHARED]
    for seed, attack in wanted if mine else []:
        one = plan.model_copy(update={"attacks": [attack], "defenses": mine, "seeds": [seed]})
        for cell in cells_of(one, preparation).possible if shares(str(attack.name)) else []:
            if cell.name not in known:
                found[str(cell.spec.model), seed] = None
    return list(found)


def shares(attack: str) -> bool:
    """Whether the pair of MNTD and an attack has the meta classifier of the clean model."""
    return attack not in OTHER_NETWORK


def only(plan: Plan, cells: dict[str, Cell]) -> Plan:
    """A plan with the defenses of some cells alone."""
    wanted = {cell.spec.defense for cell in cells.values()}
    return plan.model_copy(update={"defenses": [item for item in plan.defenses if item.name in wanted]})
