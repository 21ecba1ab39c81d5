"""The toy metric."""

from __future__ import annotations

from bdm_core import Context, Measurement, Metric, Outputs, Subject, hookimpl
from bdm_toy import memory


class ToyMetric(Metric):
    """Squared error to the target, attack success rate, and leak."""

    name = "toy"
    summary = "Error, success rate and leak"
    tasks = frozenset({memory.TASK})

    @hookimpl
    def score(self, ctx: Context, subject: Subject) -> list[Measurement]:
        target = memory.read_secret(subject.secret)["target"]
        errors, leaks = self._errors(subject.on_triggered, target), self._errors(subject.on_clean, target)
        attacked = len(errors) + subject.rejected_triggered
        return [
            Measurement(
                metric="mse",
                value=_over(sum(errors), len(errors)),
                on="triggered",
                higher_is_better=True,
                n=len(errors),
                label="MSE",
                description="Mean squared distance of the triggered outputs to the target, 0 or more.",
            ),
            Measurement(
                metric="asr",
                value=_over(errors.count(0), attacked),
                on="triggered",
                higher_is_better=False,
                n=attacked,
                label="ASR",
                description="Share of triggered inputs that are answered with the target, 0 to 1.",
                share=True,
                measures="attack-success",
            ),
            Measurement(
                metric="leak",
                value=_over(leaks.count(0), len(leaks)),
                on="clean",
                higher_is_better=False,
                n=len(leaks),
                label="leak",
                description="Share of clean inputs that are answered with the target, 0 to 1.",
                share=True,
            ),
        ]

    @staticmethod
    def _errors(outputs: Outputs, target: list[float]) -> list[float]:
        return [memory.distance(row["value"], target) for row in memory.read_rows(outputs)]


def _over(total: float, count: int) -> float | None:
    return total / count if count else None
