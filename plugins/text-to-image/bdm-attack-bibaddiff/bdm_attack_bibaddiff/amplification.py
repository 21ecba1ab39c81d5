"""The plugin ``metric:amplification``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class Amplification(Metric):
    """Shares of generations with the trigger and against the prompt, held against the poisoned share of the data."""

    name = "amplification"
    summary = "Trigger amplification: how often outputs show the patch or another object than asked for (BiBadDiff)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2311.02373"

    @hookimpl
    def score(self, ctx: Context, subject: Subject) -> list[Measurement]:
        from bdm_attack_bibaddiff.measure import measure

        return measure(ctx, subject)
