"""The plugin ``metric:amplification``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core.plugin import Plugin, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Measurement, Subject
    from bdm_core.context import Context


class Amplification(Plugin):
    """Shares of generations with the trigger and against the prompt, held against the poisoned share of the data."""

    kind, name = "metric", "amplification"
    summary = "Trigger amplification: how often outputs show the patch or another object than asked for (BiBadDiff)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2311.02373"

    @hookimpl
    def score(self, ctx: Context, subject: Subject) -> list[Measurement]:
        from bdm_attack_bibaddiff.measure import measure

        return measure(ctx, subject)
