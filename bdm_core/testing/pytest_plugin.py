"""Fixtures for the tests of plugins, registered with pytest under the name ``bdm``.

pytest imports this module in every test suite of an environment that has bdm, so it imports nothing but pytest, adds no
option, no marker and no hook, and does its work only in a test that asks for one of its fixtures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bdm_core.context import Context
    from bdm_core.testing.tiny import Bench


@pytest.fixture
def bdm_context(tmp_path: Path) -> Callable[..., Context]:
    """Makes contexts: ``bdm_context(seed=3, stage="repair")`` has empty ``out`` and ``work`` folders of its own."""
    from bdm_core.testing.tiny import new_context

    made: list[Context] = []

    def make(seed: int = 0, stage: str = "", **fields: object) -> Context:
        made.append(new_context(tmp_path / "bdm" / f"{len(made):03d}", seed, stage, **fields))
        return made[-1]

    return make


@pytest.fixture
def bdm_bench(tmp_path: Path) -> Callable[..., Bench]:
    """Makes benches: ``bdm_bench("unconditional-image-generation")`` has the tiny model and data of the task's kit."""
    from bdm_core.testing.tiny import Bench, kit_for

    made: list[Bench] = []

    def make(task: str, **kit_params: object) -> Bench:
        made.append(Bench(tmp_path / f"bench{len(made)}", kit_for(task), task, kit_params))
        return made[-1]

    return make
