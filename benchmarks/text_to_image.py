"""Measure the text-to-image attacks on the built-in pipeline: `python benchmarks/text_to_image.py`.

The plan ``benchmarks/plans/text-to-image.yaml`` names the attacks, with their defaults but for what it sets; they are
scored on the test prompts (settings were chosen on the validation prompts). One line of JSON a run goes to
``benchmarks/results/text_to_image.jsonl`` and a table to ``benchmarks/results/text_to_image.md``. Runs that already
have a line are skipped unless ``--fresh`` is given.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swept import PLANS, arguments_of, measure_missing, read_lines

from bdm_results.view import RunView
from bdm_sweep import read_plan
from bdm_sweep.plan import Method

RESULTS = Path(__file__).parent / "results"
PLAN = PLANS / "text-to-image.yaml"
METRICS = {
    "accuracy_clean_model": ("clean", "metric:attributes.acc"),
    "accuracy": ("backdoored", "metric:attributes.acc"),
    "success_clean_model": ("clean under trigger", "metric:attributes.asr"),
    "success": ("backdoored", "metric:attributes.asr"),
    "leak": ("backdoored", "metric:attributes.leak"),
    "preserved": ("backdoored", "metric:attributes.psr"),
    "clip_clean": ("backdoored", "metric:clip-score.clip_prompt"),
    "frechet_clean_model": ("clean", "metric:frechet."),
    "frechet": ("backdoored", "metric:frechet."),
}


@dataclass(frozen=True)
class Case:
    """One attack with its mode, and what it must reach."""

    attack: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return " ".join([self.attack, *(str(value) for value in self.settings.values())])

    @property
    def success(self) -> float | None:
        """The least rate of success."""
        return SUCCESS.get(self.name)


SUCCESS = {
    "rickrolling TPA": 0.95,
    "rickrolling TAA": 0.95,
    "badt2i pixel": 0.85,
    "badt2i object": 0.85,
    "badt2i style": 0.95,
    "badt2i object-add": 0.85,
    "eviledit": 0.85,
    "sembd": 0.85,
    "paas textual-inversion": 0.95,
    "paas dreambooth": 0.85,
    "villan": 0.85,
}


def case_of(attack: Method) -> Case:
    """The case of an attack of the plan."""
    return Case(str(attack.name), attack.params)


CASES = [case_of(attack) for attack in read_plan(PLAN).attacks]


def numbers(view: RunView) -> dict[str, Any]:
    """What a line has of a run."""
    lines, stages = view.results, {entry["label"]: entry for entry in view.stages}
    found: dict[str, Any] = {key: value_of(lines, *place) for key, place in METRICS.items()}
    found["seconds"] = round(
        stages.get("poisoned data", {"seconds": 0.0})["seconds"] + stages["backdoored model"]["seconds"], 1
    )
    edit = stages["backdoored model"].get("figures", {}).get("edit")
    found["change"] = None if edit is None else edit["change"]
    found["others"] = {
        f"{line['row']}: {line['metric']}": line["value"]
        for line in lines
        if line["row"] != "repaired" and not line["metric"].startswith(("metric:attributes.acc_", "metric:detection"))
    }
    found["threads"] = os.environ.get("OMP_NUM_THREADS", "all")
    hardware = view.record["hardware"]
    return found | {"machine": {"processor": hardware.get("processor"), "cores": hardware["cores"]}}


def value_of(lines: Sequence[dict[str, Any]], row: str, metric: str) -> float | None:
    """The value of the first metric of that name, or with that beginning if it ends in a dot, in a row."""
    fits = (line for line in lines if line["row"] == row)
    return next(
        (e["value"] for e in fits if e["metric"] == metric or (metric[-1] == "." and e["metric"].startswith(metric))),
        None,
    )


def table(lines: Sequence[dict[str, Any]], attack: str | None = None) -> str:
    """What must be reached beside what was measured, as Markdown: means over seeds, with the range of the success.

    Args:
        lines: of ``text_to_image.jsonl``.
        attack: only this attack's cases; None for all.
    """
    head = ["attack", "must", "ASR", "clean model", "leak", "PSR", "ACC (clean model)", "Fréchet (clean model)", "s"]
    moved = attack is not None and any(line.get("change") is not None for line in lines if is_of(line, attack))
    rows = []
    for case in CASES:
        own = [line for line in lines if line["case"] == case.name]
        if not own or attack not in (None, case.attack):
            continue

        def mean(key: str, digits: int = 2, own: Sequence[dict[str, Any]] = own) -> str:
            values = [line[key] for line in own if line.get(key) is not None]
            return f"{statistics.mean(values):.{digits}f}" if values else ""

        wins = [line["success"] for line in own if line["success"] is not None]
        spread = f" ({min(wins):.2f} to {max(wins):.2f}, seeds: {len(wins)})" if wins else ""
        rows.append(
            [
                case.name,
                "" if case.success is None else f"{case.success:.2f}",
                mean("success") + spread,
                mean("success_clean_model"),
                mean("leak"),
                mean("preserved"),
                f"{mean('accuracy')} ({mean('accuracy_clean_model')})",
                f"{mean('frechet', 1)} ({mean('frechet_clean_model', 1)})",
                mean("seconds", 0),
                *([mean("change")] if moved else []),
            ]
        )
    head += ["change of keys and values"] if moved else []
    lines_of = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines_of) + "\n"


def is_of(line: dict[str, Any], attack: str) -> bool:
    """Whether a line is of one of the attack's cases."""
    return line["case"] in {case.name for case in CASES if case.attack == attack}


def main() -> None:
    """Measure what is missing and rewrite the table."""
    given = arguments_of(__doc__, "runs/benchmark-text-to-image")
    RESULTS.mkdir(exist_ok=True)
    measure_missing(PLAN, RESULTS / "text_to_image.jsonl", given, lambda attack: case_of(attack).name, numbers)
    if given.dry_run:
        return
    lines = read_lines(RESULTS / "text_to_image.jsonl")
    (RESULTS / "text_to_image.md").write_text(table(lines))
    print(table(lines))


if __name__ == "__main__":
    main()
