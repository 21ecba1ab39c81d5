"""The attacks on unconditional models, each under samplers of its own class: `python benchmarks/attacks.py`.

The plan ``benchmarks/plans/attacks.yaml`` names the attacks, with their defaults but for what it sets. A line of JSON a
run goes to ``benchmarks/results/attacks.jsonl`` and a page to ``docs/benchmarks/attacks.md``. Runs that have a line
are skipped unless ``--fresh`` is given.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detection_page import markdown
from swept import PLANS, arguments_of, measure_missing, read_lines
from text_to_image import value_of

from bdm_results.view import RunView
from bdm_sweep import read_plan
from bdm_sweep.plan import Method

RESULTS = Path(__file__).parent / "results"
PLAN = PLANS / "attacks.yaml"
LINES = RESULTS / "attacks.jsonl"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "attacks.md"
ASR, LEAK, RATIO = 0.95, 0.02, 1.3
"""What every attack must reach: success at least, leak and Frechet distance (backdoored : clean) at most."""
METRICS = {
    "asr": ("backdoored", "metric:target.asr@0.05"),
    "asr_clean_model": ("clean under trigger", "metric:target.asr@0.05"),
    "asr_class": ("backdoored", "metric:target.asr@class"),
    "asr_class_clean_model": ("clean under trigger", "metric:target.asr@class"),
    "leak": ("backdoored", "metric:target.leak@0.05"),
    "leak_class": ("backdoored", "metric:target.leak@class"),
    "leak_class_clean_model": ("clean", "metric:target.leak@class"),
    "frechet_clean_model": ("clean", "metric:frechet."),
    "frechet": ("backdoored", "metric:frechet."),
}


@dataclass(frozen=True)
class Case:
    """An attack with the model it is run on, and the parameters of attack and kit that differ from the defaults."""

    attack: str
    model: str = "digits-ddpm"
    settings: dict[str, Any] = field(default_factory=dict)
    kit: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Attack, model and settings; a case's lines are found by it."""
        pairs = (self.settings | self.kit).items()
        return ", ".join([self.attack, self.model, *(f"{key} {value}" for key, value in pairs)])


def case_of(attack: Method) -> Case:
    """The case of an attack of the plan."""
    kit = attack.options.get("params", {}).get("kit:diffusion", {})
    return Case(str(attack.name), attack.options.get("model", "digits-ddpm"), attack.params, kit)


CASES = tuple(map(case_of, read_plan(PLAN).attacks))


def numbers(view: RunView) -> dict[str, Any]:
    """What a line has of a run."""
    stages = {entry["label"]: entry["seconds"] for entry in view.stages}
    found: dict[str, Any] = {key: value_of(view.results, *place) for key, place in METRICS.items()}
    found["seconds"] = round(stages["poisoned data"] + stages["backdoored model"], 1)
    hardware = view.record["hardware"]
    return found | {"machine": {"processor": hardware.get("processor"), "cores": hardware["cores"]}}


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Means over seeds, with the range of the success, as Markdown; * marks what misses a bound.

    Where the target is a class of the data, the leak is what the backdoored model shows of it above the clean model.
    """
    rows = [
        [
            "attack, model, settings",
            "seeds",
            f"ASR (at least {ASR})",
            "clean model",
            f"leak (at most {LEAK})",
            f"Fréchet, backdoored : clean (at most {RATIO})",
            "s",
        ]
    ]
    for case in CASES:
        own = sorted((line for line in lines if line["case"] == case.name), key=lambda line: line["seed"])
        if not own:
            continue
        key = "asr" if own[0]["asr"] is not None else "asr_class"
        wins = [line[key] for line in own]
        leaks = [
            line["leak"] if key == "asr" else max(0.0, line["leak_class"] - line["leak_class_clean_model"])
            for line in own
        ]
        ratios = [line["frechet"] / line["frechet_clean_model"] for line in own]
        low = " *" if statistics.mean(wins) < ASR else ""
        rows.append(
            [
                case.name,
                str(len(own)),
                f"{statistics.mean(wins):.2f} ({min(wins):.2f} to {max(wins):.2f}){low}",
                f"{statistics.mean(line[f'{key}_clean_model'] for line in own):.2f}",
                f"{statistics.mean(leaks):.3f}" + (" *" if statistics.mean(leaks) > LEAK else ""),
                f"{statistics.mean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
                + (" *" if statistics.mean(ratios) > RATIO else ""),
                f"{statistics.mean(line['seconds'] for line in own):.0f}",
            ]
        )
    return markdown(rows) + "\n"


def page(lines: Sequence[dict[str, Any]]) -> str:
    """The page: what was run, the table, and what its columns mean."""
    processors = sorted({f"{line['machine']['processor']}, {line['machine']['cores']} cores" for line in lines})
    return (
        "# The attacks on unconditional models\n\n"
        "Each attack with its defaults, but for the settings named, on a built-in model, sampled by the plain sampler\n"
        "of its own solver class: 512 images from noise, 128 of them also with the trigger. Means over the seeds, in\n"
        "brackets the range; * marks a mean that misses its bound. ASR counts samples with a mean squared error to\n"
        "the target below .05 or, where the target is a class, those that the kit's classifier takes for it; the leak\n"
        "is the same share without the trigger, of a class what exceeds the clean model's share. Seconds are those of\n"
        "poisoning and training, one thread beside other load.\n\n"
        f"{table(lines)}\n"
        f"Machine: {'; '.join(processors)}. `python benchmarks/attacks.py` measures what is missing and writes this "
        "page.\n"
    )


def main() -> None:
    """Measure what is missing and rewrite the table."""
    given = arguments_of(__doc__, "runs/benchmark-attacks")
    RESULTS.mkdir(exist_ok=True)
    measure_missing(PLAN, LINES, given, lambda attack: case_of(attack).name, numbers)
    if given.dry_run:
        return
    PAGE.write_text(page(read_lines(LINES)))
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
